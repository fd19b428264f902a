"""``pocketcrafter bench leaderboard``: several bundles' cards on one page."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
from markupsafe import Markup

from pocketcrafter.benchmarks.report.card import BundleCard, TargetCard, read_card
from pocketcrafter.benchmarks.report.facts import State
from pocketcrafter.benchmarks.report.page import html_environment, style_text
from pocketcrafter.runtime.cli.options import json_option
from pocketcrafter.runtime.files import write_text

_RANK: Final = (State.PASSED, State.PARTLY, State.NOT_NEEDED, State.NOT_RUN, State.FAILED)

Row = tuple[BundleCard, str, TargetCard]


@click.command("leaderboard")
@click.argument("cards", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The HTML file to write.")
@json_option
def leaderboard(cards: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    r"""Put several bundles side by side: CARDS are what `pocketcrafter report --json` printed of each.

    \b
    Example:
      pocketcrafter bench leaderboard int8.json int4.json --out leaderboard.html
    """
    read = [read_card(path) for path in cards]
    write_text(out, leaderboard_page(read))
    rows = ranked(read)
    if as_json:
        told = [{"bundle": c.bundle, "target": n, **t.model_dump(mode="json")} for c, n, t in rows]
        click.echo(json.dumps(told, indent=1))
        return
    click.echo("\n".join([f"{out}:", *(f"{c.bundle} {n}: {t.state}, {t.mib:.2f} MiB" for c, n, t in rows)]))


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
