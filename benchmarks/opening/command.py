"""``pocketcrafter bench opening``."""

import click

from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.errors import GateError


@click.command("opening")
@click.option("--mib", type=click.IntRange(32, 2000), default=200, show_default=True, help="File size.")
@click.option("--repeats", type=click.IntRange(1, 100), default=5, show_default=True, help="Of each, interleaved.")
@json_option
def opening(mib: int, repeats: int, *, as_json: bool) -> None:
    r"""Measure how long opening an artifact takes, and how long the check that it is unchanged takes before it.

    Exit code 1: a check after the first takes more than 5 % of opening.

    \b
    Example:
      pocketcrafter bench opening --mib 200
    """
    from pocketcrafter.benchmarks.opening.measure import MOST_SHARE, measure_opening, opening_text

    report = measure_opening(mib, repeats)
    click.echo(report.model_dump_json(indent=1) if as_json else opening_text(report))
    if report.later_share > MOST_SHARE:
        raise GateError(f"A later check takes {report.later_share:.1%} of opening; at most {MOST_SHARE:.0%} is asked.")
