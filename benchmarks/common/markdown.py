"""Markdown tables and the figures in their cells."""

from collections.abc import Iterable, Sequence

NOT_MEASURED = "–"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a cell's own upright bars are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def plain(value: float | None, digits: int) -> str:
    """Return a figure, or a dash where there is none."""
    return NOT_MEASURED if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """Return a figure with its sign, or a dash where there is none."""
    return NOT_MEASURED if value is None else f"{value:+.{digits}f}"


def percent(share: float | None) -> str:
    """Return a share in percent, or a dash where there is none."""
    return NOT_MEASURED if share is None else f"{share:.0%}"
