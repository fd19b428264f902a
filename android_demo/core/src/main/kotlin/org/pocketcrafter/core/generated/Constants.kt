// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.
package org.pocketcrafter.core.generated

/** Sizes of tensors, and constants of the analytic renderer. */
object Constants {
    /** Side of the networks' view of the whole photo. */
    const val VIEW_PX: Int = 256

    /** Side of a crop at native resolution. */
    const val CROP_PX: Int = 128

    /** How many crops there are. */
    const val CROPS: Int = 4

    /** Side of a tile of the restoration network. */
    const val TILE_PX: Int = 512

    /** What neighboring tiles share. */
    const val OVERLAP_PX: Int = 32

    /** Proposals that a judge looks at, in one batch. */
    const val PROPOSALS: Int = 12

    /** Side of a proposal's preview. */
    const val PREVIEW_PX: Int = 32

    /** Longer side of the copy that crops are judged on. */
    const val WORKING_PX: Int = 768

    /** Photos with a shorter side are neither levelled nor cropped. */
    const val LEAST_PHOTO_PX: Int = 64

    /** Least side of a crop on that copy. */
    const val LEAST_CROP_PX: Int = 32

    /** The critic's plan tokens. */
    const val TOKENS: Int = 4

    /** Channels of a plan token. */
    const val TOKEN_DIM: Int = 64

    /** A bilateral grid's affine coefficients: 3×4, row-major. */
    const val GRID_COEFFICIENTS: Int = 12

    /** Its bins of luma. */
    const val GRID_BINS: Int = 8

    /** Its cells from top to bottom. */
    const val GRID_ROWS: Int = 16

    /** Its cells from left to right. */
    const val GRID_COLUMNS: Int = 16

    /** Words of the decoder's vocabulary. */
    const val PROSE_WORDS: Int = 1280

    /** Most tokens of a prompt and its critique together. */
    const val PROSE_LENGTH: Int = 384

    /** Layers of the decoder. */
    const val PROSE_LAYERS: Int = 4

    /** Heads of a cache. */
    const val PROSE_HEADS: Int = 4

    /** Channels of a head. */
    const val PROSE_CHANNELS: Int = 48

    /** Ways of wording one finding. */
    const val VOICES: Int = 6

    /** What a score of attention is lowered by where nothing may be read. */
    const val MASKED: Double = -256.0

    /** How well colors must carry an artist's edit; else it edits tiles. */
    const val CARRIED_DB: Double = 30.0

    /** What the composition network sees where the photo is not. */
    const val LETTERBOX: Double = 0.5

    /** Least confidence at which a photo is turned. */
    const val SURE_OF_TILT: Double = 0.7

    /** Smaller tilts are left. */
    const val LEAST_TURN_DEGREES: Double = 2.5

    /** Least lead of a crop over its centered rival, in log-odds. */
    const val CROP_MARGIN: Double = 2.0

    /** Log-odds that a crop has to make up for if it kept nothing. */
    const val COST_OF_AREA: Double = 2.0

    /** The least tilt that is as bad as any. */
    const val FULL_SEVERITY_DEGREES: Double = 8.0

    /** Longer side of a salience map. */
    const val MAP_PX: Int = 96

    /** Standard deviation of the blur before its colors are compared. */
    const val SALIENCE_BLUR_PX: Double = 2.0

    /** Share of its places that stand out from nothing. */
    const val BACKGROUND_QUANTILE: Double = 0.7

    /** Share of a frame's side that counts as its border. */
    const val EDGE_SHARE: Double = 0.04

    /** Least approach, in sides of the frame, that is a reason to crop. */
    const val LEAST_NEARER: Double = 0.03

    /** Least share of what stands out, no longer cut, that is a reason. */
    const val LEAST_FREED: Double = 0.01

    /** Rec. 709 luma weight (ITU-R BT.709). */
    const val LUMA_RED: Double = 0.2126

    /** Rec. 709 luma weight (ITU-R BT.709). */
    const val LUMA_GREEN: Double = 0.7152

    /** Rec. 709 luma weight (ITU-R BT.709). */
    const val LUMA_BLUE: Double = 0.0722

    /** log2 gain of R for one mired of warming. */
    const val LOG2_RED_PER_MIRED: Double = 0.0063

    /** log2 gain of B for one mired of warming. */
    const val LOG2_BLUE_PER_MIRED: Double = -0.008

    /** log2 gain of G for one mired of tint. */
    const val LOG2_GREEN_PER_MIRED: Double = -0.0075

    /** How sharply a gain below one leaves white white. */
    const val SHOULDER_POWER: Double = 8.0

    /** Linear-light gray of the veil that dehazing removes. */
    const val AIRLIGHT: Double = 0.8

    /** Transmission lost at dehaze = 1. */
    const val VEIL: Double = 0.6

    /** Width of the soft floor of dehazing, at dehaze = 1. */
    const val TOE: Double = 0.005

    /** Scale of the change by shadows and highlights. */
    const val REGION_LIFT: Double = 0.9450000000000001

    /** Distance from 0 and 1 at which the contrast curve is evaluated. */
    const val TONE_EPS: Double = 1e-06
}
