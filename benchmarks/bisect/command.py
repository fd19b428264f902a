"""``pocketcrafter bisect``."""

from pathlib import Path

import click

from pocketcrafter.runtime.cli.options import OutputFile, json_option

_STAGES = click.option(
    "--stages",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/stages"),
    show_default=True,
    help="Where results of stages are kept for the next build.",
)

_WEIGHTS = click.option(
    "--weights",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the full-precision weights  [default: what is installed].",
)


@click.command("bisect")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.argument("component", metavar="COMPONENT")
@click.option("--against", "target", metavar="TARGET", required=True, help="The target whose artifact is looked into.")
@_WEIGHTS
@_STAGES
@click.option("--top", type=click.IntRange(1), default=12, show_default=True, help="Layers to print.")
@click.option("--model-explorer", type=OutputFile(".json"), help="Write node data for Google's Model Explorer.")
@click.option("--trace", type=OutputFile(".json"), help="Write the layers for ui.perfetto.dev.")
@json_option
def bisect_command(
    bundle: Path,
    component: str,
    target: str,
    weights: Path | None,
    stages: Path,
    top: int,
    model_explorer: Path | None,
    trace: Path | None,
    *,
    as_json: bool,
) -> None:
    r"""Name the layer that an artifact computes wrongly.

    Every operator that the target's runtime shows is compared twice, on the first golden: with torch on the artifact's
    own inputs, which is the layer's own error, and with the full-precision network, which is what has come together up
    to there (drift). First stands the layer whose own error its precision explains least, under the name of the torch
    module. `report --bisect` draws what --json writes.

    \b
    Example:
      pocketcrafter bisect build/default.pcbundle restore --against onnx
      pocketcrafter bisect build/default.pcbundle restore --against onnx --json > layers.json
      pocketcrafter report build/default.pcbundle --out report.html --bisect layers.json
    """
    from pocketcrafter.benchmarks.bisect.table import as_node_data, as_trace, bisect, bisect_lines
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.cli.bars import Bars
    from pocketcrafter.runtime.files import same_file, write_text

    if model_explorer is not None and trace is not None and same_file(model_explorer, trace):
        raise click.UsageError("--model-explorer and --trace name one file; they are two.")
    with Bars() as bars:
        report = bisect(Bundle.open(bundle), component, target, weights, stages, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else bisect_lines(report, top))
    if model_explorer is not None:
        write_text(model_explorer, as_node_data(report))
    if trace is not None:
        write_text(trace, as_trace(report))


@click.command("bisect")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--count", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Faults to plant.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which ones.")
@_WEIGHTS
@_STAGES
@json_option
def mutations_command(
    bundle: Path, count: int, seed: int, weights: Path | None, stages: Path, *, as_json: bool
) -> None:
    r"""Plant faults in artifacts; count those that bisect names first.

    Weights, scales, axes and ranges of activations are changed in the artifacts of every target whose layers can be
    seen, one at a time. Exit code 1: fewer than 95 % are named first.

    \b
    Example:
      pocketcrafter bench bisect build/default.pcbundle --count 50
    """
    from pocketcrafter.benchmarks.bisect.mutations import LEAST_NAMED, mutate, mutation_lines
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.cli.bars import Bars
    from pocketcrafter.runtime.errors import GateError

    with Bars() as bars:
        report = mutate(Bundle.open(bundle), count, seed, weights, stages, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else mutation_lines(report))
    if report.share < LEAST_NAMED:
        raise GateError(f"{report.share:.0%} of the faults were named first; {LEAST_NAMED:.0%} are asked.")


@click.command("operators")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--target", default="coreml:ios18", show_default=True, help="What the MIL interpreter runs.")
@click.option("--against", default="coreai:ios27", show_default=True, help="What Apple's own runtime runs.")
@_WEIGHTS
@json_option
def operators_command(bundle: Path, target: str, against: str, weights: Path | None, *, as_json: bool) -> None:
    r"""Hold the MIL interpreter against Apple's own runtime.

    Each operator of the Core ML packages is interpreted on what Apple's runtime computed before it for Core AI, on the
    first golden, and its output compared with Apple's. What Apple's runtime does not show counts by the next operator
    that it does. Exit code 1: somewhere Apple's runtime is nearer to torch than to the interpreter.

    \b
    Example:
      pocketcrafter bench operators build/apple.pcbundle
    """
    from pocketcrafter.benchmarks.bisect.operators import operator_lines, operators
    from pocketcrafter.runtime.bundle.reader import Bundle
    from pocketcrafter.runtime.cli.bars import Bars
    from pocketcrafter.runtime.errors import GateError

    with Bars() as bars:
        report = operators(Bundle.open(bundle), target, against, weights, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else operator_lines(report))
    if report.unexplained:
        raise GateError(f"At {len(report.unexplained)} values torch confirms Apple's runtime, not the interpreter.")
