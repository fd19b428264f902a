"""Puts the report together: one HTML file without a single reference to anything outside it.

What other commands wrote stands beside the bundle, where it was given; the leaderboard is several cards on one page.
"""

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pocketcrafter.benchmarks.bisect.results import BisectReport
from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.benchmarks.latency.results import LatencyReport, restoration_pairs
from pocketcrafter.benchmarks.profile.layers import LayerKind
from pocketcrafter.benchmarks.profile.results import NetworkProfile, ProfileReport
from pocketcrafter.benchmarks.profile.roofline import TimeShare, where_time_goes
from pocketcrafter.benchmarks.quality.gates import missed_gates
from pocketcrafter.benchmarks.quality.pictures import OURS
from pocketcrafter.benchmarks.quality.results import QualityReport
from pocketcrafter.benchmarks.quantization.sensitivity import SensitivityReport
from pocketcrafter.benchmarks.report.card import BundleCard, TargetCard, rung3_errors
from pocketcrafter.benchmarks.report.facts import RUNGS, State, TargetFacts, target_facts
from pocketcrafter.benchmarks.report.photos import Failure, PhotoPair
from pocketcrafter.benchmarks.report.plots import (
    icicle,
    latency_bars,
    layer_errors,
    sensitivity_bars,
    size_against_error,
    sustained_lines,
)
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.words import counted

_MAX_BYTES = 64 << 20
_HERE: Final = Path(__file__).parent
_TEMPLATE: Final = "template.html.j2"
_RANK: Final = (State.PASSED, State.PARTLY, State.NOT_NEEDED, State.NOT_RUN, State.FAILED)
Row = tuple[BundleCard, str, TargetCard]


@dataclass(frozen=True)
class Analysis:
    """Where time and harm come from."""

    profile: ProfileReport | None = None
    sensitivities: Sequence[SensitivityReport] = field(default_factory=tuple)
    layers: Sequence[BisectReport] = field(default_factory=tuple)


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
        "layers": [(report, layer_errors(report, _layers_title(report))) for report in analysis.layers],
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


def _layers_title(report: BisectReport) -> str:
    return f"Errors of the layers of {report.component} on {report.target}"


def _sensitivity(report: SensitivityReport) -> tuple[str, Markup]:
    title = f"Sensitivity of {report.head.trial.component}"
    return title, sensitivity_bars(report, title)


def report_page(
    bundle: Bundle,
    latency: LatencyReport | None = None,
    quality: QualityReport | None = None,
    failures: Sequence[Failure] = (),
    pairs: Sequence[PhotoPair] = (),
    left_out: int = 0,
    analysis: Analysis | None = None,
) -> str:
    """Return the report of a bundle as HTML.

    Parameters
    ----------
    bundle
        Opened; its hashes are checked here.
    latency, quality
        What was measured, where it was.
    failures
        The worst frames of the quality measurement, the worst first.
    pairs, left_out
        Photos to show, and how many more were given.
    analysis
        Where time and harm come from.

    Raises
    ------
    DamagedBundleError
        If a file is not what the manifest says.
    """
    bundle.check_integrity()
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    manifest_sha256 = hashlib.sha256(read_manifest_bytes(bundle.root)).hexdigest()
    manifest = bundle.manifest
    targets = target_facts(manifest)
    return (
        html_environment()
        .get_template(_TEMPLATE)
        .render(
            manifest=manifest,
            manifest_sha256=manifest_sha256,
            total_mib=sum(f.size for f in manifest.files) / (1 << 20),
            version=version("pocketcrafter"),
            style=Markup(style_text()),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=f"sha256-{digest}",
            rungs=RUNGS,
            targets=targets,
            **analysis_context(analysis or Analysis(), targets, rung3_errors(manifest), manifest_sha256),
            latency=latency,
            other_bundle=latency is not None and latency.manifest_sha256 != manifest_sha256,
            bars=_bars(latency) if latency else [],
            curves=sustained_lines(latency.sustained, "Latency without a pause")
            if latency and latency.sustained
            else "",
            restoration=list(restoration_pairs(latency)) if latency else [],
            quality=quality,
            summary=quality.summary if quality else None,
            ours=OURS,
            other_quality=quality is not None and quality.manifest_sha256 != manifest_sha256,
            missed=missed_gates(quality.summary) if quality else [],
            passed=State.PASSED,
            failures=failures,
            pairs=pairs,
            left_out=left_out,
        )
    )


def html_environment() -> Environment:
    """Return what renders pages: everything is escaped but what this package made itself."""
    return Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def style_text() -> str:
    """Return the style sheet of all pages."""
    return (_HERE / "style.css").read_text(encoding="utf-8")


def _bars(latency: LatencyReport) -> list[tuple[str, Markup]]:
    plots = []
    for (component, threads), group in itertools.groupby(latency.cases, key=lambda c: (c.component, c.threads)):
        title = f"{component}, {counted(threads, 'thread')}"
        plots.append((title, latency_bars(list(group), f"Latency of {title}")))
    return plots


def leaderboard_page(cards: Sequence[BundleCard]) -> str:
    """Return the page of several bundles as HTML, without a reference to anything outside it."""
    rows = ranked(cards)
    measured = list(dict.fromkeys(network for _, _, target in rows for network in target.median_ms))
    return (
        html_environment()
        .get_template("leaderboard.html.j2")
        .render(
            cards=cards,
            rows=rows,
            networks=measured,
            machines=sorted({card.machine for card in cards if card.machine}),
            style=Markup(style_text()),  # noqa: S704 - our own file
        )
    )


def ranked(cards: Sequence[BundleCard]) -> list[Row]:
    """Return all targets: the furthest proved first, then the nearest to full precision, then the smallest."""

    def order(row: Row) -> tuple[int, float, float]:
        target = row[2]
        return _RANK.index(target.state), float("inf") if target.delta_e is None else target.delta_e, target.mib

    return sorted(((card, name, target) for card in cards for name, target in card.targets.items()), key=order)
