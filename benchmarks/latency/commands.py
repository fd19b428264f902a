"""``pocketcrafter bench latency``, ``bench compare`` and ``bench baseline``."""

import re
import sys
from pathlib import Path
from typing import Final

import click

from pocketcrafter.benchmarks.common.names import REFERENCE, CompetitorName
from pocketcrafter.benchmarks.common.options import weights_option
from pocketcrafter.runtime.cli.bars import Bars
from pocketcrafter.runtime.cli.options import OutputFile, json_option
from pocketcrafter.runtime.errors import GateError
from pocketcrafter.runtime.words import counted

_DURATION: Final = re.compile(r"(\d{1,6})(s|m|h)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_NO_COMPETITOR: Final = "none"
_PHOTOS_MP: Final = (1.0, 12.0, 50.0)


def _as_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    """Read a duration such as ``90s``, ``10m`` or ``1h``; none is 0."""
    if value is None:
        return 0.0
    match = _DURATION.fullmatch(value)
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 10m or 1h.", ctx, param)
    return float(int(match[1]) * _SECONDS[match[2]])


_RESULT = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("latency")
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--target", "targets", multiple=True, help="Only this target; may be given again.")
@click.option("--component", "components", metavar="NAME", multiple=True, help="Only this one of the bundle's.")
@click.option(
    "--threads", type=click.IntRange(1, 256), multiple=True, default=(1,), show_default=True, help="May be given again."
)
@click.option(
    "--competitor",
    "competitors",
    type=click.Choice([*(c.value for c in CompetitorName), _NO_COMPETITOR]),
    multiple=True,
    help="Run beside the targets, in the same rounds  [default: all].",
)
@weights_option
@click.option("--repeats", type=click.IntRange(1, 10_000), default=30, show_default=True, help="Timed runs of each.")
@click.option("--loads", type=click.IntRange(1, 100), default=3, show_default=True, help="Cold starts of each.")
@click.option(
    "--sustained",
    metavar="DURATION",
    callback=_as_seconds,
    help="Then run each target's networks this long without a pause, as in 10m.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="Also enhance whole photos on each target; of the pocket family, restoration off and on.",
)
@click.option(
    "--megapixels",
    type=click.FloatRange(0.1, 200),
    multiple=True,
    default=_PHOTOS_MP,
    show_default=True,
    help="Sizes of those photos; may be given again.",
)
@json_option
def latency(
    bundle: Path,
    targets: tuple[str, ...],
    components: tuple[str, ...],
    threads: tuple[int, ...],
    competitors: tuple[str, ...],
    weights: Path | None,
    repeats: int,
    loads: int,
    sustained: float,
    megapixels: tuple[float, ...],
    *,
    end_to_end: bool,
    as_json: bool,
) -> None:
    r"""Measure time and memory of a bundle's networks, beside other engines on the same weights.

    Every engine has a process of its own, warmed by a real inference; they run in turn. A noisy run is repeated once,
    and says so if it is noisy still. The figures are this machine's, not a phone's.

    \b
    Example:
      pocketcrafter bench latency build/default.pcbundle --threads 1 --threads 2 --json > latency.json
    """
    from pocketcrafter.benchmarks.latency.measure import LatencyOptions, measure_latency
    from pocketcrafter.benchmarks.latency.results import latency_lines

    chosen = [CompetitorName(c) for c in competitors if c != _NO_COMPETITOR] if competitors else list(CompetitorName)
    options = LatencyOptions(
        targets=targets,
        components=components,
        threads=threads,
        competitors=tuple(chosen),
        repeats=repeats,
        loads=loads,
        sustained_s=sustained,
        photos_mp=megapixels if end_to_end else (),
        weights=weights,
    )
    with Bars() as bars:
        report = measure_latency(bundle, options, bars.update)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(latency_lines(report)))


@click.command("compare")
@click.argument("earlier", type=_RESULT)
@click.argument("later", type=_RESULT, required=False)
@click.option(
    "--relative", is_flag=True, help="Count in times of eager torch in the same run; always so for two machines."
)
@click.option(
    "--baseline",
    type=_RESULT,
    help="With one result: what `bench baseline` wrote  [default: the ratios kept in this repository].",
)
@json_option
def compare_command(earlier: Path, later: Path | None, baseline: Path | None, *, relative: bool, as_json: bool) -> None:
    r"""Compare two results of `bench latency --json`: ratios with their confidence. Exit code 1: a regression.

    One result alone is compared with a baseline: ratios to eager torch, which outlast a machine.

    \b
    Examples:
      pocketcrafter bench compare before.json after.json
      pocketcrafter bench compare after.json
    """
    from pocketcrafter.benchmarks.latency.baseline import BASELINE_FILE, read_baseline
    from pocketcrafter.benchmarks.latency.compare import compare, compare_with_baseline, comparison_lines
    from pocketcrafter.benchmarks.latency.results import read_latency

    if later is None:
        report = compare_with_baseline(read_baseline(baseline or BASELINE_FILE), read_latency(earlier))
    elif baseline is not None:
        raise click.UsageError("--baseline takes the place of an earlier result: name one result only.")
    else:
        report = compare(read_latency(earlier), read_latency(later), relative=relative)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n".join(comparison_lines(report)))
    if report.regressions:
        click.echo(f"{counted(len(report.regressions), 'regression')}", err=True)
        sys.exit(GateError.exit_code)


@click.command("baseline")
@click.argument("result", type=_RESULT)
@click.option("--out", type=OutputFile(".json"), required=True, help="The JSON file to write.")
@json_option
def baseline_command(result: Path, out: Path, *, as_json: bool) -> None:
    r"""Keep a result of `bench latency --json` as ratios to eager torch, for `bench compare` to hold others against.

    \b
    Example:
      pocketcrafter bench baseline latency.json --out benchmarks/latency/baseline.json
    """
    from pocketcrafter.benchmarks.latency.baseline import baseline_of
    from pocketcrafter.benchmarks.latency.results import read_latency
    from pocketcrafter.runtime.files import write_text

    kept = baseline_of(read_latency(result))
    write_text(out, kept.model_dump_json(indent=1) + "\n")
    if as_json:
        click.echo(kept.model_dump_json(indent=1))
        return
    noisy = sum(case.noisy for case in kept.cases)
    click.echo(f"{out}: {len(kept.cases)} ratios to {REFERENCE}" + (f", {noisy} of them noisy" if noisy else ""))
