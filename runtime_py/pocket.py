"""The pocket family's components by name, and the tensors that go in and out of them.

The contract between the pocket family's models, calibration, training and pipeline. Everything that handles bundles in
general (build, bundle, benchmarks) reads names and specs from the recipe or the manifest instead.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from pydantic import Field

from pocketcrafter.runtime.attribute_gate import GateSettings
from pocketcrafter.runtime.bundle.gates import Gate, Metric
from pocketcrafter.runtime.components import ComponentSpec, Role, TensorSpec
from pocketcrafter.runtime.config import Config
from pocketcrafter.runtime.plan import RESTORATION, Attribute
from pocketcrafter.runtime.plan_judge import PREVIEW_PX, PROPOSALS

TOKENIZER: Final = "tokenizer/tokenizer.json"
"""The decoder's vocabulary; every bundle with a decoder has it."""


class PocketSettings(Config):
    """What the manifest of a pocket bundle holds beside its components."""

    gate: GateSettings = Field(description="Which attributes of a predicted plan are sure enough to be carried out.")


class Pocket(StrEnum):
    """A component of the pocket family."""

    CRITIC = "critic"
    JUDGE = "judge"
    TONE = "tone"
    RESTORE = "restore"
    COMPOSITION = "composition"
    DECODER = "decoder"


VIEW_PX: Final = 256
CROP_PX: Final = 128
CROPS: Final = 4
TILE_PX: Final = 512
TOKENS: Final = 4
TOKEN_DIM: Final = 64
SCENE_DIM: Final = 64
GRID: Final = (12, 8, 16, 16)
"""Bilateral grid: 3×4 affine coefficients (row-major, output channel first), luma bins, rows, columns."""

PROSE_WORDS: Final = 1280
"""Size of the decoder's vocabulary."""
PROSE_LENGTH: Final = 384
"""Most tokens of a prompt and its critique together."""
PROSE_LAYERS: Final = 4
"""Layers of the decoder; each has a key cache and a value cache."""
PROSE_CACHE: Final = (4, PROSE_LENGTH, 48)
"""A cache of the decoder: heads, positions, channels of a head."""
PROSE_KEYS: Final = tuple(f"keys_{layer}" for layer in range(PROSE_LAYERS))
PROSE_VALUES: Final = tuple(f"values_{layer}" for layer in range(PROSE_LAYERS))
PROSE_ROWS: Final = (PROSE_LAYERS, PROSE_CACHE[0], 1, PROSE_CACHE[2])
"""What one position adds to all key caches, or to all value caches."""

_A: Final = len(Attribute)
_RGB: Final = "RGB, sRGB-encoded"
_VIEW: Final = f"{_RGB}; the whole photo resized (antialiased, aspect not kept)"

POCKET_SPECS: Final[Mapping[str, ComponentSpec]] = {
    Pocket.CRITIC: ComponentSpec(
        name=Pocket.CRITIC,
        role=Role.VISION,
        inputs=(
            TensorSpec(name="view", shape=(1, 3, VIEW_PX, VIEW_PX), minimum=0, maximum=1, semantics=_VIEW),
            TensorSpec(
                name="crops",
                shape=(CROPS, 3, CROP_PX, CROP_PX),
                minimum=0,
                maximum=1,
                semantics=f"{_RGB}; native-resolution crops whose corners are multiples of 8 px in the source",
            ),
        ),
        outputs=(
            TensorSpec(name="plan", shape=(1, _A), semantics="EditPlan.vector() before the gate"),
            TensorSpec(name="presence", shape=(1, _A), minimum=0, maximum=1, semantics="P(attribute needs a change)"),
            TensorSpec(
                name="confidence",
                shape=(1, _A),
                minimum=0,
                maximum=1,
                semantics="P(predicted amount is near the truth)",
            ),
            TensorSpec(name="score", shape=(1, 1), minimum=0, maximum=1, semantics="Photo score / 100"),
            TensorSpec(name="tokens", shape=(1, TOKENS, TOKEN_DIM), semantics="Plan tokens the artist reads"),
            TensorSpec(name="scene", shape=(1, SCENE_DIM), semantics="Scene embedding, unit length"),
        ),
    ),
    Pocket.JUDGE: ComponentSpec(
        name=Pocket.JUDGE,
        role=Role.VISION,
        inputs=(
            TensorSpec(
                name="view",
                shape=(PROPOSALS, 3, PREVIEW_PX, PREVIEW_PX),
                minimum=0,
                maximum=1,
                semantics="The mean of each square of the critic's view, once for each proposal",
            ),
            TensorSpec(
                name="rendered",
                shape=(PROPOSALS, 3, PREVIEW_PX, PREVIEW_PX),
                minimum=0,
                maximum=1,
                semantics="The same after the analytic render of each proposal",
            ),
            TensorSpec(name="plan", shape=(PROPOSALS, _A), semantics="EditPlan.vector() of each proposal"),
            TensorSpec(
                name="tokens",
                shape=(PROPOSALS, TOKENS, TOKEN_DIM),
                semantics="The critic's plan tokens, once for each proposal",
            ),
        ),
        outputs=(
            TensorSpec(
                name="gain",
                shape=(PROPOSALS, 3),
                semantics="10 %, 50 % and 90 % quantiles of the CIEDE2000 that each proposal gains",
            ),
        ),
    ),
    Pocket.TONE: ComponentSpec(
        name=Pocket.TONE,
        role=Role.EDIT,
        inputs=(
            TensorSpec(name="view", shape=(1, 3, VIEW_PX, VIEW_PX), minimum=0, maximum=1, semantics=_VIEW),
            TensorSpec(
                name="rendered",
                shape=(1, 3, VIEW_PX, VIEW_PX),
                minimum=0,
                maximum=1,
                semantics="The view after the analytic render of the gated plan",
            ),
            TensorSpec(name="plan", shape=(1, _A), semantics="EditPlan.vector() after the gate"),
            TensorSpec(name="tokens", shape=(1, TOKENS, TOKEN_DIM), semantics="The critic's plan tokens"),
        ),
        outputs=(
            TensorSpec(
                name="grid",
                shape=(1, *GRID),
                semantics="Bilateral grid of affine transforms of rendered RGB: 3x4 row-major, bins, rows, columns; "
                "bin and cell centres span the whole range (align corners)",
            ),
        ),
    ),
    Pocket.RESTORE: ComponentSpec(
        name=Pocket.RESTORE,
        role=Role.EDIT,
        inputs=(
            TensorSpec(
                name="tile",
                shape=(1, 3, TILE_PX, TILE_PX),
                minimum=0,
                maximum=1,
                semantics=f"{_RGB}; a native-resolution tile",
            ),
            TensorSpec(
                name="amounts",
                shape=(1, len(RESTORATION)),
                minimum=0,
                maximum=1,
                semantics="denoise, deblur, dejpeg of the gated plan",
            ),
        ),
        outputs=(
            TensorSpec(
                name="restored", shape=(1, 3, TILE_PX, TILE_PX), semantics=f"{_RGB}; clip to [0, 1]", mends="tile"
            ),
        ),
    ),
    Pocket.COMPOSITION: ComponentSpec(
        name=Pocket.COMPOSITION,
        role=Role.VISION,
        inputs=(
            TensorSpec(
                name="view",
                shape=(1, 3, VIEW_PX, VIEW_PX),
                minimum=0,
                maximum=1,
                semantics=f"{_RGB}; the photo or a box of it, resized with its aspect kept, centered on 0.5",
            ),
            TensorSpec(
                name="inside", shape=(1, 1, VIEW_PX, VIEW_PX), minimum=0, maximum=1, semantics="1 where the picture is"
            ),
        ),
        outputs=(
            TensorSpec(name="tilt", shape=(1, 1), semantics="Clockwise turn that levels it, degrees"),
            TensorSpec(
                name="confidence", shape=(1, 1), minimum=0, maximum=1, semantics="P(tilt is right to 1.5 degrees)"
            ),
            TensorSpec(name="score", shape=(1, 1), semantics="Log-odds; differences rank boxes of one photo and size"),
        ),
    ),
    Pocket.DECODER: ComponentSpec(
        name=Pocket.DECODER,
        role=Role.LANGUAGE,
        inputs=(
            TensorSpec(
                name="word",
                shape=(1, PROSE_WORDS),
                minimum=0,
                maximum=1,
                semantics="One-hot word; zeros where a plan token goes in",
            ),
            TensorSpec(name="soft", shape=(1, TOKEN_DIM), semantics="A plan token of the critic; zeros with a word"),
            TensorSpec(name="position", shape=(1, PROSE_LENGTH), minimum=0, maximum=1, semantics="One-hot position"),
            *(
                TensorSpec(name=name, shape=PROSE_CACHE, semantics=f"A layer's {what} of earlier positions")
                for what, names in (("keys", PROSE_KEYS), ("values", PROSE_VALUES))
                for name in names
            ),
        ),
        outputs=(
            TensorSpec(name="logits", shape=(1, PROSE_WORDS), semantics="Log-odds of the next word"),
            TensorSpec(name="key", shape=PROSE_ROWS, semantics="Each layer's key of this position, for its cache"),
            TensorSpec(name="value", shape=PROSE_ROWS, semantics="Each layer's value of this position, for its cache"),
        ),
    ),
}
"""The contract of each component of the pocket family."""

LADDER: Final[Mapping[int, tuple[Gate, ...]]] = {
    0: (Gate(metric=Metric.PSNR_LOSS_DB, maximum=0.5), Gate(metric=Metric.DELTA_E_LOSS, maximum=0.5)),
    3: (
        Gate(metric=Metric.DELTA_E_MEAN, maximum=1.0),
        Gate(metric=Metric.DELTA_E_WORST, maximum=3.0),
        Gate(metric=Metric.PLAN_ERROR, maximum=0.02),
        Gate(metric=Metric.TOKEN_AGREEMENT, minimum=0.99),
    ),
}
"""Gates of the rungs that look at whole photos: 0, student against studio, and 3, end to end."""
