"""What Core AI's targets take: the same precisions and schemes as Core ML for iOS 18, so that both hold one network."""

from typing import Final

from pocketcrafter.export.lower.coreml.profile import coreml_profile
from pocketcrafter.export.lower.profile import Profile, because
from pocketcrafter.runtime.bundle.results import Precision
from pocketcrafter.runtime.targets import TARGETS, Target, TargetKind

_SAME_AS: Final = TargetKind("coreml:ios18")
_TOOLS: Final = ("coreai-core", "coreai-torch", "coreai-opt")


def coreai_profile(_: Target) -> Profile:
    """Return the profile of ``coreai:<ios>``."""
    like = coreml_profile(TARGETS[_SAME_AS])
    refusals = {precision: why.replace("Core ML", "Core AI") for precision, why in like.refusals.items()}
    return Profile(
        like.precisions,
        refusals,
        _TOOLS,
        schemes=like.schemes,
        functions=like.functions,
        lower_seconds=30,
        prove_seconds=30,
    )


def executorch_coreai_profile(_: Target) -> Profile:
    """Return the profile of ``executorch-coreai``, which cannot be built yet."""
    return Profile((Precision.FP16,), because((Precision, "not tried before ExecuTorch has a partitioner")), _TOOLS)
