"""Sizes and constants that apps in other languages need, under the names that their sources derive theirs from."""

from dataclasses import dataclass
from typing import Final

from pocketcrafter.runtime import tone_math as tm
from pocketcrafter.runtime.geometry.composer import LEAST_PHOTO_PX
from pocketcrafter.runtime.geometry.decide import (
    BACKGROUND_QUANTILE,
    BLUR_PX,
    COST_OF_AREA,
    EDGE_SHARE,
    FULL_SEVERITY_DEGREES,
    LEAST_FREED,
    LEAST_NEARER,
    LEAST_TURN_DEGREES,
    MAP_PX,
    MARGIN,
    SURE,
)
from pocketcrafter.runtime.geometry.proposals import LEAST_SIDE_PX
from pocketcrafter.runtime.geometry.turn import LETTERBOX, WORKING_PX
from pocketcrafter.runtime.language import MASKED
from pocketcrafter.runtime.latent.native import CARRIED_DB
from pocketcrafter.runtime.plan_judge import PREVIEW_PX, PROPOSALS
from pocketcrafter.runtime.pocket import (
    CROP_PX,
    CROPS,
    GRID,
    PROSE_CACHE,
    PROSE_LAYERS,
    PROSE_LENGTH,
    PROSE_WORDS,
    TILE_PX,
    TOKEN_DIM,
    TOKENS,
    VIEW_PX,
)
from pocketcrafter.runtime.prose.prompt import VOICES
from pocketcrafter.runtime.tiles import OVERLAP_PX


@dataclass(frozen=True)
class Constant:
    """A constant, and what it means; ``value`` is an ``int`` for sizes and counts, a ``float`` for everything else."""

    name: str
    value: int | float
    meaning: str


CONSTANTS: Final = (
    Constant("VIEW_PX", VIEW_PX, "Side of the networks' view of the whole photo."),
    Constant("CROP_PX", CROP_PX, "Side of a crop at native resolution."),
    Constant("CROPS", CROPS, "How many crops there are."),
    Constant("TILE_PX", TILE_PX, "Side of a tile of the restoration network."),
    Constant("OVERLAP_PX", OVERLAP_PX, "What neighboring tiles share."),
    Constant("PROPOSALS", PROPOSALS, "Proposals that a judge looks at, in one batch."),
    Constant("PREVIEW_PX", PREVIEW_PX, "Side of a proposal's preview."),
    Constant("WORKING_PX", WORKING_PX, "Longer side of the copy that crops are judged on."),
    Constant("LEAST_PHOTO_PX", LEAST_PHOTO_PX, "Photos with a shorter side are neither levelled nor cropped."),
    Constant("LEAST_CROP_PX", LEAST_SIDE_PX, "Least side of a crop on that copy."),
    Constant("TOKENS", TOKENS, "The critic's plan tokens."),
    Constant("TOKEN_DIM", TOKEN_DIM, "Channels of a plan token."),
    Constant("GRID_COEFFICIENTS", GRID[0], "A bilateral grid's affine coefficients: 3×4, row-major."),
    Constant("GRID_BINS", GRID[1], "Its bins of luma."),
    Constant("GRID_ROWS", GRID[2], "Its cells from top to bottom."),
    Constant("GRID_COLUMNS", GRID[3], "Its cells from left to right."),
    Constant("PROSE_WORDS", PROSE_WORDS, "Words of the decoder's vocabulary."),
    Constant("PROSE_LENGTH", PROSE_LENGTH, "Most tokens of a prompt and its critique together."),
    Constant("PROSE_LAYERS", PROSE_LAYERS, "Layers of the decoder."),
    Constant("PROSE_HEADS", PROSE_CACHE[0], "Heads of a cache."),
    Constant("PROSE_CHANNELS", PROSE_CACHE[2], "Channels of a head."),
    Constant("VOICES", VOICES, "Ways of wording one finding."),
    Constant("MASKED", MASKED, "What a score of attention is lowered by where nothing may be read."),
    Constant("CARRIED_DB", CARRIED_DB, "How well colors must carry an artist's edit; else it edits tiles."),
    Constant("LETTERBOX", LETTERBOX, "What the composition network sees where the photo is not."),
    Constant("SURE_OF_TILT", SURE, "Least confidence at which a photo is turned."),
    Constant("LEAST_TURN_DEGREES", LEAST_TURN_DEGREES, "Smaller tilts are left."),
    Constant("CROP_MARGIN", MARGIN, "Least lead of a crop over its centered rival, in log-odds."),
    Constant("COST_OF_AREA", COST_OF_AREA, "Log-odds that a crop has to make up for if it kept nothing."),
    Constant("FULL_SEVERITY_DEGREES", FULL_SEVERITY_DEGREES, "The least tilt that is as bad as any."),
    Constant("MAP_PX", MAP_PX, "Longer side of a salience map."),
    Constant("SALIENCE_BLUR_PX", BLUR_PX, "Standard deviation of the blur before its colors are compared."),
    Constant("BACKGROUND_QUANTILE", BACKGROUND_QUANTILE, "Share of its places that stand out from nothing."),
    Constant("EDGE_SHARE", EDGE_SHARE, "Share of a frame's side that counts as its border."),
    Constant("LEAST_NEARER", LEAST_NEARER, "Least approach, in sides of the frame, that is a reason to crop."),
    Constant("LEAST_FREED", LEAST_FREED, "Least share of what stands out, no longer cut, that is a reason."),
    Constant("LUMA_RED", tm.LUMA[0], "Rec. 709 luma weight (ITU-R BT.709)."),
    Constant("LUMA_GREEN", tm.LUMA[1], "Rec. 709 luma weight (ITU-R BT.709)."),
    Constant("LUMA_BLUE", tm.LUMA[2], "Rec. 709 luma weight (ITU-R BT.709)."),
    Constant("LOG2_RED_PER_MIRED", tm.LOG2_GAIN_PER_MIRED[0], "log2 gain of R for one mired of warming."),
    Constant("LOG2_BLUE_PER_MIRED", tm.LOG2_GAIN_PER_MIRED[2], "log2 gain of B for one mired of warming."),
    Constant("LOG2_GREEN_PER_MIRED", tm.LOG2_GREEN_PER_MIRED, "log2 gain of G for one mired of tint."),
    Constant("SHOULDER_POWER", tm.SHOULDER_POWER, "How sharply a gain below one leaves white white."),
    Constant("AIRLIGHT", tm.AIRLIGHT, "Linear-light gray of the veil that dehazing removes."),
    Constant("VEIL", tm.VEIL, "Transmission lost at dehaze = 1."),
    Constant("TOE", tm.TOE, "Width of the soft floor of dehazing, at dehaze = 1."),
    Constant("REGION_LIFT", tm.REGION_LIFT, "Scale of the change by shadows and highlights."),
    Constant("TONE_EPS", tm.TONE_EPS, "Distance from 0 and 1 at which the contrast curve is evaluated."),
)
