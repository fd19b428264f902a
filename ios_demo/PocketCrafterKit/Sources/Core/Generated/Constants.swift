// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

/// Sizes of tensors, and constants of the analytic renderer.
public enum Constants {
    /// Side of the networks' view of the whole photo.
    public static let viewPx: Int = 256

    /// Side of a crop at native resolution.
    public static let cropPx: Int = 128

    /// How many crops there are.
    public static let crops: Int = 4

    /// Side of a tile of the restoration network.
    public static let tilePx: Int = 512

    /// What neighboring tiles share.
    public static let overlapPx: Int = 32

    /// Proposals that a judge looks at, in one batch.
    public static let proposals: Int = 12

    /// Side of a proposal's preview.
    public static let previewPx: Int = 32

    /// Longer side of the copy that crops are judged on.
    public static let workingPx: Int = 768

    /// Photos with a shorter side are neither levelled nor cropped.
    public static let leastPhotoPx: Int = 64

    /// Least side of a crop on that copy.
    public static let leastCropPx: Int = 32

    /// The critic's plan tokens.
    public static let tokens: Int = 4

    /// Channels of a plan token.
    public static let tokenDim: Int = 64

    /// A bilateral grid's affine coefficients: 3×4, row-major.
    public static let gridCoefficients: Int = 12

    /// Its bins of luma.
    public static let gridBins: Int = 8

    /// Its cells from top to bottom.
    public static let gridRows: Int = 16

    /// Its cells from left to right.
    public static let gridColumns: Int = 16

    /// Words of the decoder's vocabulary.
    public static let proseWords: Int = 1280

    /// Most tokens of a prompt and its critique together.
    public static let proseLength: Int = 384

    /// Layers of the decoder.
    public static let proseLayers: Int = 4

    /// Heads of a cache.
    public static let proseHeads: Int = 4

    /// Channels of a head.
    public static let proseChannels: Int = 48

    /// Ways of wording one finding.
    public static let voices: Int = 6

    /// What a score of attention is lowered by where nothing may be read.
    public static let masked: Double = -256.0

    /// How well colors must carry an artist's edit; else it edits tiles.
    public static let carriedDb: Double = 30.0

    /// What the composition network sees where the photo is not.
    public static let letterbox: Double = 0.5

    /// Least confidence at which a photo is turned.
    public static let sureOfTilt: Double = 0.7

    /// Smaller tilts are left.
    public static let leastTurnDegrees: Double = 2.5

    /// Least lead of a crop over its centered rival, in log-odds.
    public static let cropMargin: Double = 2.0

    /// Log-odds that a crop has to make up for if it kept nothing.
    public static let costOfArea: Double = 2.0

    /// The least tilt that is as bad as any.
    public static let fullSeverityDegrees: Double = 8.0

    /// Longer side of a salience map.
    public static let mapPx: Int = 96

    /// Standard deviation of the blur before its colors are compared.
    public static let salienceBlurPx: Double = 2.0

    /// Share of its places that stand out from nothing.
    public static let backgroundQuantile: Double = 0.7

    /// Share of a frame's side that counts as its border.
    public static let edgeShare: Double = 0.04

    /// Least approach, in sides of the frame, that is a reason to crop.
    public static let leastNearer: Double = 0.03

    /// Least share of what stands out, no longer cut, that is a reason.
    public static let leastFreed: Double = 0.01

    /// Rec. 709 luma weight (ITU-R BT.709).
    public static let lumaRed: Double = 0.2126

    /// Rec. 709 luma weight (ITU-R BT.709).
    public static let lumaGreen: Double = 0.7152

    /// Rec. 709 luma weight (ITU-R BT.709).
    public static let lumaBlue: Double = 0.0722

    /// log2 gain of R for one mired of warming.
    public static let log2RedPerMired: Double = 0.0063

    /// log2 gain of B for one mired of warming.
    public static let log2BluePerMired: Double = -0.008

    /// log2 gain of G for one mired of tint.
    public static let log2GreenPerMired: Double = -0.0075

    /// How sharply a gain below one leaves white white.
    public static let shoulderPower: Double = 8.0

    /// Linear-light gray of the veil that dehazing removes.
    public static let airlight: Double = 0.8

    /// Transmission lost at dehaze = 1.
    public static let veil: Double = 0.6

    /// Width of the soft floor of dehazing, at dehaze = 1.
    public static let toe: Double = 0.005

    /// Scale of the change by shadows and highlights.
    public static let regionLift: Double = 0.9450000000000001

    /// Distance from 0 and 1 at which the contrast curve is evaluated.
    public static let toneEps: Double = 1e-06
}
