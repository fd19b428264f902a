"""The files that the steps leave for each other and in the bundle."""

from typing import Final

from pocketcrafter.runtime.components import Component
from pocketcrafter.runtime.targets import ARTIFACT_SUFFIX, TargetKind

CALIBRATION: Final = "calibration.npz"
MOMENTS: Final = "moments.npz"
CALIBRATED_WITH: Final = "calibration.json"
COMPILED: Final = "compiled"
"""Input of a lowering whose compiler starts from another target's artifact."""
RECORD: Final = "lowering.json"
PROOF: Final = "proof.json"
BUNDLE: Final = "bundle"
TOKENIZER_INPUT: Final = "tokenizer"
"""Input of the decoder's examples."""


def artifact_path(component: Component, target: TargetKind) -> str:
    """Return where an artifact lies in a bundle."""
    # Windows has no `:` in names, nor has a bundle.
    return f"targets/{target.replace(':', '-')}/{component}{ARTIFACT_SUFFIX[target]}"
