"""A bundle on one card: what `pocketcrafter report --json` says of it, and what a leaderboard is made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from pocketcrafter.benchmarks.common.names import FrameKind
from pocketcrafter.benchmarks.common.result_files import read_result
from pocketcrafter.benchmarks.latency.results import LatencyReport
from pocketcrafter.benchmarks.quality.results import QualityReport
from pocketcrafter.benchmarks.report.facts import State, TargetFacts
from pocketcrafter.runtime.bundle.gates import Metric
from pocketcrafter.runtime.bundle.manifest import Manifest
from pocketcrafter.runtime.config import Config

_MAX_BYTES = 4 << 20


class TargetCard(Config):
    """One target of a bundle."""

    state: State
    verdict: str = Field(max_length=4000)
    mib: float = Field(ge=0)
    delta_e: float | None = Field(description="Rung 3: mean ΔE2000 to full precision; null where it was not run.")
    median_ms: dict[str, float] = Field(description="By network, with the fewest threads measured; host figures.")


class BundleCard(Config):
    """One bundle."""

    schema_version: Literal[1] = 1
    report: str = Field(max_length=4000, description="The report that the card was written with.")
    bytes: int = Field(ge=0)
    bundle: str = Field(max_length=80)
    manifest_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    targets: dict[str, TargetCard]
    machine: str = Field("", max_length=400, description="What the times were measured on; empty without any.")
    psnr_gain_db: float | None = Field(None, description="Degraded frames of a quality measurement.")
    delta_e_change: float | None = None
    unchanged_share: float | None = Field(None, description="Clean frames that came out as they went in.")


def rung3_errors(manifest: Manifest) -> dict[str, float]:
    """Return the mean ΔE2000 of rung 3 by target, for those where it was run."""
    return {
        target: figure.value
        for entry in manifest.components
        for target, artifact in entry.artifacts.items()
        for rung in artifact.rungs
        for figure in rung.figures
        if rung.rung == 3 and figure.metric is Metric.DELTA_E_MEAN and figure.value is not None
    }


def card_of(
    manifest: Manifest,
    manifest_sha256: str,
    targets: tuple[TargetFacts, ...],
    latency: LatencyReport | None,
    quality: QualityReport | None,
    *,
    report: str,
    size: int,
) -> BundleCard:
    """Return a bundle's card from what its report was made of.

    Parameters
    ----------
    manifest, manifest_sha256
        The bundle's.
    targets
        What the report says of each target.
    latency, quality
        Results beside the bundle; `None` where there are none.
    report
        The report's file name.
    size
        The bundle's bytes.
    """
    errors, kinds = rung3_errors(manifest), quality.summary.kinds if quality else {}
    degraded, clean = kinds.get(FrameKind.DEGRADED), kinds.get(FrameKind.CLEAN)
    return BundleCard(
        report=report,
        bytes=size,
        bundle=manifest.name,
        manifest_sha256=manifest_sha256,
        targets={
            t.name: TargetCard(
                state=t.state,
                verdict=t.verdict,
                mib=t.mib,
                delta_e=errors.get(t.name),
                median_ms=_medians(latency, t.name) if latency else {},
            )
            for t in targets
        },
        machine=latency.machine.label if latency else "",
        psnr_gain_db=degraded.psnr_gain_db if degraded else None,
        delta_e_change=degraded.delta_e_change if degraded else None,
        unchanged_share=clean.unchanged_share if clean else None,
    )


def read_card(path: Path) -> BundleCard:
    """Read what `pocketcrafter report --json` wrote.

    Raises
    ------
    ConfigError
        If it is missing, too large or something else.
    """
    return read_result(path, BundleCard, "card", "report --json", _MAX_BYTES)


def _medians(latency: LatencyReport, target: str) -> Mapping[str, float]:
    cases = sorted((c for c in latency.cases if c.runner == target), key=lambda c: -c.threads)
    return {case.component: case.warm.median_ms for case in cases}
