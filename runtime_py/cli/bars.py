"""Progress on stderr: one bar for each kind of work, driven by the callbacks that libraries take."""

import sys
from typing import Never, Self

from tqdm import tqdm


class Bars:
    """A context in which `update` can be passed as a ``(what, done, total)`` progress callback."""

    def __init__(self) -> None:
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` of the work is done, and which part is under way.

        Parameters
        ----------
        what
            The part that is under way; shown before the bar.
        done, total
            How much of the work is done, and how much there is; in any one unit.
        """
        bar = self._bar
        if bar is None or bar.total != total or done < bar.n:
            if bar is not None:
                bar.close()
            bar = self._bar = tqdm(desc=what, total=total, file=sys.stderr, unit_scale=True, leave=False)
        bar.set_description(what, refresh=False)
        bar.update(done - bar.n)
