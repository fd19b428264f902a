"""Several bundles' cards on one page."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from pocketcrafter.benchmarks.report.card import BundleCard, TargetCard
from pocketcrafter.benchmarks.report.facts import State
from pocketcrafter.benchmarks.report.page import html_environment, style_text

_RANK: Final = (State.PASSED, State.PARTLY, State.NOT_NEEDED, State.NOT_RUN, State.FAILED)

Row = tuple[BundleCard, str, TargetCard]


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
