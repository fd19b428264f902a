"""Puts what the ladder found into the bundle: rungs into the manifest, everything into its reports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pocketcrafter.benchmarks.parity.results import PARITY_REPORT, ParityReport
from pocketcrafter.export.builder.report import parity_report
from pocketcrafter.runtime.bundle.amend import amend
from pocketcrafter.runtime.bundle.manifest import Artifact, ComponentEntry, Manifest
from pocketcrafter.runtime.bundle.reader import Bundle
from pocketcrafter.runtime.bundle.results import Rung

PARITY_TEXT: Final = "reports/parity.md"

Rungs = Mapping[tuple[str, str], tuple[Rung, ...]]
"""New rungs by component and target."""


def store(path: Path, report: ParityReport) -> Manifest:
    """Write a report into the bundle that it is about; returns the new manifest.

    Raises
    ------
    BundleError
        If the bundle is damaged or cannot be written; it is left as it was.
    """
    rungs: dict[tuple[str, str], tuple[Rung, ...]] = {}
    ran = {t.target: t.rung for t in report.targets if not t.not_run}
    for network in report.networks:
        found = [ran[network.target]] if network.target in ran else []
        if report.studio and network.component in report.studio.studio:
            found.append(report.studio.rung)
        rungs[network.component, network.target] = tuple(found)
    return store_rungs(path, rungs, {PARITY_REPORT: report.model_dump_json(indent=1).encode()})


def store_rungs(path: Path, rungs: Rungs, reports: Mapping[str, bytes]) -> Manifest:
    """Write rungs into a bundle's manifest in place of those of the same number, and reports beside it.

    Parameters
    ----------
    path
        The bundle.
    rungs
        New rungs by component and target.
    reports
        Files to write too, by path in the bundle.

    Raises
    ------
    BundleError
        As in `store`.
    """

    def change(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"components": with_rungs(manifest, rungs)})

    components = with_rungs(Bundle.open(path).manifest, rungs)
    text = parity_report(Bundle.open(path).manifest.name, components).encode()
    return amend(path, change, {PARITY_TEXT: text, **reports})


def with_rungs(manifest: Manifest, rungs: Rungs) -> tuple[ComponentEntry, ...]:
    """Return a manifest's components with rungs put in the place of those of the same number."""
    return tuple(
        entry.model_copy(
            update={
                "artifacts": {
                    target: _replaced(artifact, rungs.get((entry.spec.name, target), ()))
                    for target, artifact in entry.artifacts.items()
                }
            }
        )
        for entry in manifest.components
    )


def _replaced(artifact: Artifact, rungs: tuple[Rung, ...]) -> Artifact:
    ladder = {rung.rung: rung for rung in (*artifact.rungs, *rungs)}
    return artifact.model_copy(update={"rungs": tuple(ladder[number] for number in sorted(ladder))})
