"""Settings under which a process that lowers spends less of its time on its tools' own bookkeeping."""

import gc
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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


@contextmanager
def rarely_validated() -> Iterator[None]:
    """Have coremltools validate a program where it removes dead code and writes it, and not after each of 80 passes.

    A third of a conversion's time went there.
    """
    program = importlib.import_module("coremltools.converters.mil.mil").Program
    validate = program.validate

    def seldom(checked: Any, check_essential_scope: bool = False) -> None:  # noqa: ANN401 - untyped package
        if check_essential_scope:
            validate(checked, check_essential_scope=check_essential_scope)

    program.validate = seldom
    try:
        yield
    finally:
        program.validate = validate


def _itself(source: NodeSource, _memo: dict[int, object]) -> NodeSource:
    return source
