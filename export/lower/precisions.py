"""Which precision a target computes in: why it lacks one, what is nearest, and whose artifact it then runs."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from pocketcrafter.export.lower.profile import FLOATS
from pocketcrafter.export.lower.profiles import profile_of
from pocketcrafter.quantize.config import DEFAULTS, BitWidth, QuantizationConfig, QuantizationOptions
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.errors import ConfigError
from pocketcrafter.runtime.targets import TargetKind


def runs_as(target: TargetKind, precision: Precision) -> TargetKind:
    """Return the target whose artifact a target has: another one's where the CPU beside an accelerator runs it."""
    return (profile_of(target).fp32_runs_on or target) if precision is Precision.FP32 else target


def compiled_precision(precision: Precision) -> Precision:
    """Return the precision of the artifact that such a target is compiled from.

    Where nothing tells the HTP to quantize, it computes in float16.
    """
    return Precision.FP32 if precision is Precision.FP16 else precision


ON_THE_CPU: Final = "On the CPU beside the accelerator, as float32 was asked for: "
"""What is said before how such an artifact was proved."""

NO_BITS: Final[Mapping[str, BitWidth]] = {}

_NEAREST: Final[Mapping[Precision, tuple[Precision, ...]]] = {
    Precision.FP32: (Precision.FP16,),
    Precision.FP16: (Precision.FP32, Precision.A16W8),
    Precision.INT8: (Precision.A16W8, Precision.W8, Precision.W8A8_DYNAMIC, *FLOATS),
    Precision.A16W8: (Precision.INT8, Precision.W8, *FLOATS),
    Precision.A16W4: (Precision.A8W4_DYNAMIC, Precision.W4, Precision.PALETTE4, Precision.A16W8, Precision.INT8),
    Precision.W8: (Precision.W8A8_DYNAMIC, Precision.INT8, Precision.A16W8, *FLOATS),
    Precision.W4: (Precision.A8W4_DYNAMIC, Precision.PALETTE4, Precision.A16W4, Precision.W8, Precision.INT8),
    Precision.W8A8_DYNAMIC: (Precision.W8, Precision.INT8, Precision.A16W8, *FLOATS),
    Precision.A8W4_DYNAMIC: (Precision.W4, Precision.A16W4, Precision.PALETTE4, Precision.INT8, *FLOATS),
    Precision.PALETTE6: (Precision.PALETTE4, Precision.W8, Precision.INT8, Precision.A16W8, *FLOATS),
    Precision.PALETTE4: (Precision.W4, Precision.A8W4_DYNAMIC, Precision.A16W4, Precision.INT8, *FLOATS),
}
"""What to take in a precision's place: first what costs the same bytes, then what computes alike."""


def precisions_of(target: TargetKind, functions: Sequence[str] = ()) -> tuple[Precision, ...]:
    """Return the precisions that a target has for a component, of those in which it can have the further functions."""
    profile = profile_of(target)
    return (profile.functions or profile.precisions) if functions else profile.precisions


def nearest_precision(target: TargetKind, precision: Precision, functions: Sequence[str] = ()) -> Precision:
    """Return what a target has that is nearest to a precision: itself, where the target has it.

    Parameters
    ----------
    target, precision
        What is asked of which target.
    functions
        Further functions of the component; precisions in which the target cannot have them do not count.
    """
    has = precisions_of(target, functions)
    return next((p for p in (precision, *_NEAREST[precision]) if p in has), has[-1])


_OF_EQUAL_BITS: Final = (
    frozenset({Precision.INT8, Precision.A16W8, Precision.W8, Precision.W8A8_DYNAMIC}),
    frozenset({Precision.A16W4, Precision.W4, Precision.A8W4_DYNAMIC, Precision.PALETTE4}),
)
"""Precisions whose weights have as many bits as each other's: 8, and 4."""


def with_equal_bits(target: TargetKind, precision: Precision, functions: Sequence[str] = ()) -> Precision | None:
    """Return the nearest precision of a target whose weights have as many bits, `None` where it has none.

    Parameters
    ----------
    target, precision, functions
        As for :func:`nearest_precision`.
    """
    nearest = nearest_precision(target, precision, functions)
    equal = nearest is precision or any({nearest, precision} <= group for group in _OF_EQUAL_BITS)
    return nearest if equal else None


def refusal(target: TargetKind, precision: Precision, functions: Sequence[str] = ()) -> str | None:
    """Return why a target lacks a precision and what it has nearest, or `None` where it has it.

    Parameters
    ----------
    target, precision, functions
        As for :func:`nearest_precision`.
    """
    has = precisions_of(target, functions)
    if precision in has:
        return None
    names = ", ".join(f"`{name}`" for name in functions)
    reason = profile_of(target).refusals.get(
        precision, f"activations have other ranges in each of its functions ({names} beside the default one)"
    )
    return (
        f"{target} has no {precision}: {reason}. The nearest is {nearest_precision(target, precision, functions)}; it "
        f"has {', '.join(has)}."
    )


def scheme_of(
    target: TargetKind,
    precision: Precision,
    options: QuantizationOptions = DEFAULTS,
    weight_bits: Mapping[str, BitWidth] = NO_BITS,
    keep_fp32: tuple[str, ...] = (),
) -> QuantizationConfig | None:
    """Return how a target quantizes in a precision, or `None` where it does not, or where its compiler does.

    Parameters
    ----------
    target, precision
        A precision that the target has.
    options
        What a recipe changes of the default.
    weight_bits
        Bits of single modules.
    keep_fp32
        Modules that are not quantized.

    Raises
    ------
    ConfigError
        If the target's lowering cannot honor an option, with those that it can.
    """
    found = profile_of(target).schemes.get(precision)
    tunable = () if found is None else found.tunable
    if wrong := sorted(options.given.keys() - set(tunable)):
        has = f"only {', '.join(tunable)} can be set" if tunable else "nothing can be set"
        raise ConfigError(f"{target} in {precision} has no {', '.join(wrong)} to choose: {has} there.")
    if weight_bits and not (found and found.mixed):
        raise ConfigError(f"weight_bits: {target} has no weights of other bits in {precision}.")
    if found is None:
        return None
    changed = {**options.given, "keep_fp32": keep_fp32, **({"module_bits": weight_bits} if weight_bits else {})}
    try:
        return type(found.config).model_validate({**dict(found.config), **changed})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{target} in {precision}: {faults}.") from error
