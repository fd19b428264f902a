"""Settings under which a process that lowers spends less of its time on torch's own bookkeeping."""

import gc
from typing import Final

from torch.fx.traceback import NodeSource

_COLLECT_AFTER: Final = (100_000, 20, 100)
"""Objects made since the last collection, and collections of the younger generations before one of the older."""


def quicken() -> None:
    """Share what torch copies, and collect garbage seldom; both hold for the whole process, which is a stage's own.

    Every pass over a graph copies the history of every node and lengthens it by one, although nobody ever changes one:
    a fifth of the time that lowering for the HTP took here. Python looks through the millions of objects of such graphs
    again and again: another tenth.
    """
    NodeSource.__deepcopy__ = _itself  # type: ignore[attr-defined]
    gc.set_threshold(*_COLLECT_AFTER)


def _itself(source: NodeSource, _memo: dict[int, object]) -> NodeSource:
    return source
