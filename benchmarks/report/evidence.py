"""What stands beside a bundle in its report: everything that other commands wrote, where it was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, ProfileReport
from pocketcrafter.benchmarks.profile.roofline import TimeShare, where_time_goes
from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport
from pocketcrafter.benchmarks.report.facts import TargetFacts
from pocketcrafter.benchmarks.report.plots import icicle, sensitivity_bars, size_against_error

_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Analysis:
    """Where time and harm come from."""

    profile: ProfileReport | None = None
    sensitivities: Sequence[SensitivityReport] = field(default_factory=tuple)


def analysis_context(
    analysis: Analysis, targets: Sequence[TargetFacts], errors: Mapping[str, float], manifest_sha256: str
) -> dict[str, Any]:
    """Return what the template of the analysis sections needs.

    Parameters
    ----------
    analysis
        What was given.
    targets, errors
        The bundle's targets, and the mean ΔE2000 of rung 3 of those that have it.
    manifest_sha256
        Of the bundle.
    """
    points = [(t.name, t.mib, errors[t.name]) for t in targets if t.name in errors]
    profile = analysis.profile
    icicles = [
        (n, icicle(n, f"Where the time of {n.component} on {n.target} goes"), _rest(n, profile))
        for n in (profile.networks if profile else ())
    ]
    return {
        "pareto": size_against_error(points, "Size of each target against its error") if points else "",
        "profile": profile,
        "other_profile": profile is not None and profile.manifest_sha256 != manifest_sha256,
        "icicles": icicles,
        "kinds": [kind.value for kind in LayerKind],
        "sensitivities": [_sensitivity(report) for report in analysis.sensitivities],
    }


def _rest(network: NetworkProfile, profile: ProfileReport | None) -> list[TimeShare]:
    return where_time_goes(network, profile.peaks) if profile and profile.peaks else []


def read_sensitivity(path: Path) -> SensitivityReport:
    """Read a result of `pocketcrafter quantize sensitivity --json`.

    Raises
    ------
    ConfigError
        If it is missing, too large or something else.
    """
    return read_result(path, SensitivityReport, "sensitivity", "quantize sensitivity --json", _MAX_BYTES)


def _sensitivity(report: SensitivityReport) -> tuple[str, Markup]:
    title = f"Sensitivity of {report.head.trial.component}"
    return title, sensitivity_bars(report, title)
