"""Puts the report together: one HTML file without a single reference to anything outside it."""

import base64
import hashlib
import itertools
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pocketcrafter.benchmarks.latency.results import LatencyReport, restoration_pairs
from pocketcrafter.benchmarks.quality.gates import missed_gates
from pocketcrafter.benchmarks.quality.pictures import OURS
from pocketcrafter.benchmarks.quality.results import QualityReport
from pocketcrafter.benchmarks.report.card import rung3_errors
from pocketcrafter.benchmarks.report.evidence import Analysis, analysis_context
from pocketcrafter.benchmarks.report.facts import RUNGS, State, target_facts
from pocketcrafter.benchmarks.report.photos import Failure, PhotoPair
from pocketcrafter.benchmarks.report.plots import latency_bars, sustained_lines
from pocketcrafter.runtime.bundle.integrity import read_manifest_bytes
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.words import counted

_HERE: Final = Path(__file__).parent
_TEMPLATE: Final = "template.html.j2"


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
