"""``pocketcrafter bench profile``."""

from pathlib import Path

import click

from pocketcrafter.benchmarks.common.options import weights_option
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFile, json_option


@click.command("profile")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--target", "targets", multiple=True, help="Only this target; may be given again.")
@click.option("--component", "components", metavar="NAME", multiple=True, help="Only this one of the bundle's.")
@weights_option
@click.option("--repeats", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Timed runs of each.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads to compute with.")
@click.option(
    "--top", type=click.IntRange(1), default=12, show_default=True, help="Operators to print of each network."
)
@click.option("--trace", type=OutputFile(".json"), help="Write a trace for chrome://tracing or ui.perfetto.dev.")
@click.option("--csv", "csv_file", type=OutputFile(".csv"), help="Write every operator as CSV.")
@click.option("--roofline", is_flag=True, help="Measure this machine's matrix products too, as the roof of GMAC/s.")
@json_option
def profile(
    bundle: Path,
    targets: tuple[str, ...],
    components: tuple[str, ...],
    weights: Path | None,
    repeats: int,
    threads: int,
    top: int,
    trace: Path | None,
    csv_file: Path | None,
    *,
    roofline: bool,
    as_json: bool,
) -> None:
    r"""Show where each network's time goes, operator by operator, inside the delegates too.

    Operators stand under the layer of the trained network that they come from, the dearest first. Those that run
    outside the accelerated backend are marked. Times are this machine's, not a phone's.

    \b
    Example:
      pocketcrafter bench profile build/default.pcbundle --component restore --trace restore.trace.json
    """
    from pocketcrafter.benchmarks.profile.measure import profile_bundle
    from pocketcrafter.benchmarks.profile.table import as_csv, as_trace, profile_lines
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.files import write_text

    with Bars() as bars:
        report = profile_bundle(
            Bundle.open(bundle),
            targets,
            components,
            weights=weights,
            runs=repeats,
            threads=threads,
            peaks=roofline,
            progress=bars.update,
        )
    if trace is not None:
        write_text(trace, as_trace(report))
    if csv_file is not None:
        write_text(csv_file, as_csv(report))
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(profile_lines(report, top)))
