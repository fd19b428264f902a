"""``pocketcrafter bench estimate``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pocketcrafter.benchmarks.common.options import weights_option
from pocketcrafter.benchmarks.estimate.roofline import ARITHMETIC
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import ConfigError

if TYPE_CHECKING:
    from pocketcrafter.benchmarks.estimate.roofline import EstimateReport
    from pocketcrafter.runtime.bundle.manifest import ComponentEntry
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.bundle.results import Precision


@click.command("estimate")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--soc", required=True, help="A chip of benchmarks/estimate/socs.yaml, as in SM8750.")
@click.option(
    "--precision",
    type=click.Choice([p.value for p in ARITHMETIC]),
    help="For every network  [default: what the bundle has for the chip, or else int8].",
)
@weights_option
@json_option
def estimate_command(bundle: Path, soc: str, precision: str | None, weights: Path | None, *, as_json: bool) -> None:
    r"""Estimate how fast each network could be at best on a chip, from its MACs and bytes and the chip's peaks.

    Nothing is measured: these are lower bounds of the time, by figures that are published, to be read with their
    sources. What a network takes on a phone is told by `pocketcrafter device bench`.

    \b
    Example:
      pocketcrafter bench estimate build/default.pcbundle --soc SM8750
    """
    from pocketcrafter.benchmarks.estimate.roofline import SOCS_FILE, EstimateReport, estimate, load_socs
    from pocketcrafter.benchmarks.profile.measure import source_layers
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.bundle.results import Precision

    socs = load_socs()
    if soc.upper() not in socs:
        raise ConfigError(
            f"No peak figures of {soc} are in the table, which has {', '.join(socs)}. "
            f"{SOCS_FILE} says what was left out and why, and takes a chip with its sources."
        )
    peaks, opened, networks = socs[soc.upper()], Bundle.open(bundle), []
    entries = opened.manifest.components
    with Bars() as bars:
        for done, entry in enumerate(entries):
            bars.update(entry.spec.name, done, len(entries))
            if not (layers := source_layers(opened, entry, weights)):
                raise ConfigError(
                    f"{entry.source.weights}: the weights that the bundle was built from are not here, and its layers "
                    "are counted from them; name their folder with --weights."
                )
            chosen = Precision(precision) if precision else _precision(opened, entry, soc)
            networks.append(estimate(entry.spec.name, layers, chosen, peaks))
    report = EstimateReport(bundle=opened.manifest.name, soc=soc.upper(), peaks=peaks, networks=tuple(networks))
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(_lines(report)))


def _precision(bundle: "Bundle", entry: "ComponentEntry", soc: str) -> "Precision":
    """Return the precision that the bundle has for the chip, where it has one that is known."""
    from pocketcrafter.runtime.bundle.results import Precision

    for name, target in bundle.manifest.targets.items():
        precision = entry.artifacts[name].precision
        if soc.casefold() in (target.soc or "").casefold().split(", ") and precision in ARITHMETIC:
            return precision
    return Precision.INT8


def _lines(report: "EstimateReport") -> Iterator[str]:
    from pocketcrafter.benchmarks.common.markdown import markdown

    yield f"ESTIMATE, nothing was measured: {report.bundle} on {report.peaks.name} ({report.soc})"
    yield ""
    rows = [
        (
            n.component,
            n.precision.value,
            f"{n.macs / 1e6:.1f}",
            f"{n.weight_bytes / 2**20:.2f} MiB",
            f"{n.activation_bytes / 2**20:.1f} MiB",
            f"{n.compute_ms:.3f}",
            f"≥ {n.best_ms:.3f}",
            f"≥ {n.worst_ms:.3f}",
        )
        for n in report.networks
    ]
    head = ("network", "precision", "million MACs", "weights", "activations", "arithmetic, ms",
            "estimate, ms: activations on the chip", "estimate, ms: in memory")  # fmt: skip
    yield markdown(head, rows)
    yield ""
    yield f"peak: {report.peaks.int8_tops:g} TOPS INT8: {report.peaks.int8_source}"
    yield f"memory: {report.peaks.memory_gb_per_s:g} GB/s: {report.peaks.memory_source}"
    yield "16-bit activations are taken at half of INT8's rate and float16 at a quarter: an assumption."
