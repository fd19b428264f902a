"""Names the layer where rounding, or another package, departs from a reference run: the first jump of the error."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torch import Tensor

from pocketcrafter.export.lower.mil_interpreter.interpreter import Interpreter, Mode
from pocketcrafter.export.lower.mil_interpreter.program import Op, Program
from pocketcrafter.runtime.fidelity import sqnr_db

_MOVES: Final = frozenset({"cast", "reshape", "transpose", "squeeze", "expand_dims", "identity", "concat", "split"})
"""Operators that only pass on what came to them."""


@dataclass(frozen=True)
class Divergence:
    """Where a run departs from its reference."""

    layer: str
    kind: str
    """The operator, as in ``conv``."""
    sqnr_db: float
    """Of its output; ``-inf`` where it is not finite."""
    inputs_db: float
    """The worst of its inputs; ``inf`` where all of them are still exact."""


def first_divergence(
    package: Path | Program,
    inputs: Mapping[str, Tensor],
    *,
    states: Mapping[str, Tensor] | None = None,
    reference: Path | Program | None = None,
    floor_db: float = 40.0,
    drop_db: float = 6.0,
    function: str | None = None,
) -> Divergence | None:
    """Find the first layer that is far off while what it reads is still good.

    Parameters
    ----------
    package
        Run in mode ``declared``.
    inputs
        By name.
    states
        What the function's states hold before, by name; zeros if not given.
    reference
        Another package of the same network, run in mode ``fp32``: an uncompressed or float32 one. Layers are matched by
        name; the suffixes that coremltools adds for a precision do not count. ``package`` itself if none is given,
        which finds the layer that its declared types cannot hold.
    floor_db
        Layers above this ratio are good.
    drop_db
        How much worse than its inputs a layer must be, to be named rather than one before it.
    function
        Which function; the default one if none is named.

    Returns
    -------
    Divergence or None
        ``None`` if every layer that both have reaches ``floor_db``; if the ratio falls below it step by step, with no
        jump, the layer where it first is below.

    Raises
    ------
    MilError
        If a package cannot be read or run.
    """
    truth: dict[str, Tensor] = {}

    def keep(op: Op, made: tuple[Tensor, ...]) -> None:
        truth.update({plain_name(port.name): value for port, value in zip(op.outputs, made, strict=True)})

    exact = Interpreter(reference or package, function, Mode.FP32)
    exact.run(inputs, exact.new_state(states), keep)
    ratios: dict[str, float] = {}
    found: list[Divergence] = []
    below: list[Divergence] = []

    def compare(op: Op, made: tuple[Tensor, ...]) -> None:
        before = min((ratios[name] for name in op.reads() if name in ratios), default=float("inf"))
        for port, value in zip(op.outputs, made, strict=True):
            known = truth.get(plain_name(port.name))
            if known is None or known.shape != value.shape or not known.is_floating_point():
                ratios[port.name] = before
                continue
            ratios[port.name] = _ratio(known, value)
            if ratios[port.name] < floor_db:
                here = Divergence(port.name, op.kind, ratios[port.name], before)
                below.append(here)
                if op.kind not in _MOVES and before - here.sqnr_db >= drop_db:
                    found.append(here)

    declared = Interpreter(package, function, Mode.DECLARED)
    declared.run(inputs, declared.new_state(states), compare)
    return next(iter(found or below), None)


def _ratio(reference: Tensor, actual: Tensor) -> float:
    if not actual.isfinite().all() or not reference.isfinite().all():
        return float("inf") if reference.equal(actual) else float("-inf")
    return sqnr_db(reference.numpy(), actual.numpy())


def plain_name(name: str) -> str:
    """Return a layer's name without what a conversion's precision added to it."""
    for suffix in ("_cast_fp16", "_cast_fp32", "_to_fp16", "_to_fp32"):
        name = name.removesuffix(suffix)
    return name
