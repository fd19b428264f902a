"""The registry of profiles: one line for each family of targets."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pocketcrafter.export.lower.coreai.profile import coreai_profile, executorch_coreai_profile
from pocketcrafter.export.lower.coreml.profile import coreml_profile, executorch_coreml_profile
from pocketcrafter.export.lower.executorch.profile import vendor_profile, vulkan_profile, xnnpack_profile
from pocketcrafter.export.lower.litert.profile import litert_profile
from pocketcrafter.export.lower.onnx.profile import onnx_profile
from pocketcrafter.export.lower.profile import Profile
from pocketcrafter.export.lower.qnn.profile import executorch_qnn_profile, qnn_context_profile
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import TARGETS, Target, TargetKind

PROFILES: Final[Mapping[str, Callable[[Target], Profile]]] = {
    "onnx": onnx_profile,
    "executorch-xnnpack": xnnpack_profile,
    "qnn-context": qnn_context_profile,
    "coreml": coreml_profile,
    "executorch-qnn": executorch_qnn_profile,
    "coreai": coreai_profile,
    "executorch-coreai": executorch_coreai_profile,
    "executorch-coreml": executorch_coreml_profile,
    "litert": litert_profile,
    "executorch-vulkan": vulkan_profile,
    "executorch-mediatek": vendor_profile,
    "executorch-samsung": vendor_profile,
}
"""What makes a target's profile from its row, by family."""


def profile_of(kind: TargetKind) -> Profile:
    """Return how artifacts are made for a target of `TARGETS`."""
    return PROFILES[kind.family](TARGETS[kind])


def no_functions(
    target: TargetKind, component: str, functions: Sequence[str], precision: Precision | None = None
) -> str | None:
    """Return why a target cannot have a component's further functions, or `None` where it can or there are none.

    Parameters
    ----------
    target
        The target.
    component
        Named in the message.
    functions
        Names of the further functions that are asked for.
    precision
        What the component is built in; any that the target can have them in, where none is given.
    """
    has = profile_of(target).functions
    if not functions or (has and precision in {None, *has}):
        return None
    names = ", ".join(f"`{name}`" for name in functions)
    if has:
        return (
            f"{component} for {target} in {precision}: only {', '.join(has)} can have its further functions ({names}), "
            "as activations have other ranges in each."
        )
    able = ", ".join(t for t in TARGETS if profile_of(t).functions)
    return (
        f"{component} for {target}: its further functions ({names}) would keep its weights twice there; targets that "
        f"keep them once are {able}."
    )
