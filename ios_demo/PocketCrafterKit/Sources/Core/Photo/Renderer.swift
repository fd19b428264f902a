import Foundation

/// The analytic renderer: a plan's tones, applied to sRGB-encoded values in linear light.
///
/// Everything but saturation acts on each channel alone, so that for 8 bits the whole plan is one table a channel and a
/// chroma scale: exact, monotonic and instant.
public struct Renderer: Sendable {
    private let plan: EditPlan
    private let slope: Double
    private let chroma: Float

    /// Linear-light gains of R, G and B: exposure times a white balance that keeps gray's luma.
    public let gains: [Float]

    /// - Parameter plan: the plan; only its tones are read.
    public init(_ plan: EditPlan) {
        self.plan = plan
        slope = exp2(plan[.contrast])
        chroma = Float(1 + plan[.saturation])
        let red = exp2(plan[.temperature] * Constants.log2RedPerMired)
        let green = exp2(plan[.tint] * Constants.log2GreenPerMired)
        let blue = exp2(plan[.temperature] * Constants.log2BluePerMired)
        let luma = Constants.lumaRed * red + Constants.lumaGreen * green + Constants.lumaBlue * blue
        let exposed = exp2(plan[.exposure]) / luma
        gains = [Float(exposed * red), Float(exposed * green), Float(exposed * blue)]
    }

    /// Applies everything but saturation to one value.
    ///
    /// - Parameters:
    ///   - encoded: sRGB-encoded, in [0, 1].
    ///   - channel: 0 for R, 1 for G, 2 for B.
    /// - Returns: sRGB-encoded, in [0, 1]; non-decreasing in `encoded`.
    public func curve(_ encoded: Double, channel: Int) -> Double {
        let linear = unveiled(gained(Self.toLinear(encoded), Double(gains[channel])))
        var y = Self.toEncoded(linear.clamped(to: 0...1))
        let lift = plan[.shadows] * y * (1 - y) * (1 - y) + plan[.highlights] * y * y * (1 - y)
        y = (y + Constants.regionLift * lift).clamped(to: Constants.toneEps...(1 - Constants.toneEps))
        let up = pow(y, slope)
        return up / (up + pow(1 - y, slope))
    }

    /// The curve of each channel, in [0, 1], at all levels of some bits; first R's, then G's, then B's.
    ///
    /// - Parameter count: how many levels there are, ≥ 2: 256 of 8 bits.
    public func tables(levels count: Int = 256) -> [[Float]] {
        (0..<3).map { channel in (0..<count).map { Float(curve(Double($0) / Double(count - 1), channel: channel)) } }
    }

    /// Multiplies the distance of a pixel from its luma by `1 + saturation`.
    ///
    /// - Parameter rgb: one pixel, sRGB-encoded; clipped to [0, 1].
    public func scaleChroma(_ rgb: inout SIMD3<Float>) {
        if chroma == 1 { return }
        let luma = SIMD3(repeating: Self.luma(rgb))
        rgb = (luma + chroma * (rgb - luma)).clamped(lowerBound: .zero, upperBound: .one)
    }

    /// Applies the plan to a picture.
    ///
    /// - Parameter encoded: sRGB-encoded in [0, 1], planes of R, G and B: shape `(3, N)`.
    /// - Returns: the same shape and encoding.
    public func renderPlanes(_ encoded: [Float]) -> [Float] {
        let size = encoded.count / 3
        var out = encoded
        for n in 0..<size {
            var rgb = SIMD3<Float>()
            for channel in 0..<3 { rgb[channel] = Float(curve(Double(encoded[channel * size + n]), channel: channel)) }
            scaleChroma(&rgb)
            for channel in 0..<3 { out[channel * size + n] = rgb[channel] }
        }
        return out
    }

    /// Rec. 709 luma of a pixel.
    static func luma(_ rgb: SIMD3<Float>) -> Float {
        Float(Constants.lumaRed) * rgb.x + Float(Constants.lumaGreen) * rgb.y + Float(Constants.lumaBlue) * rgb.z
    }

    private func gained(_ linear: Double, _ gain: Double) -> Double {
        let shoulder = 1 - max(1 - gain, 0) * pow(linear, Constants.shoulderPower)
        return min(gain * linear / shoulder, 1)
    }

    private func unveiled(_ linear: Double) -> Double {
        let dehaze = plan[.dehaze]
        let veil = Constants.veil * dehaze
        let scene = (linear - Constants.airlight * veil) / (1 - veil)
        // max(scene, 0) with a rounded corner, written so that nothing cancels below zero.
        let toe = pow(Constants.toe * dehaze, 2) + 1e-12
        let larger = 0.5 * (abs(scene) + (scene * scene + toe).squareRoot())
        return scene < 0 ? 0.25 * toe / larger : larger
    }

    /// Decodes the sRGB transfer function (IEC 61966-2-1); values in [0, 1].
    private static func toLinear(_ encoded: Double) -> Double {
        encoded <= 0.04045 ? encoded / 12.92 : pow((encoded + 0.055) / 1.055, 2.4)
    }

    /// Encodes with the sRGB transfer function (IEC 61966-2-1); values in [0, 1].
    private static func toEncoded(_ linear: Double) -> Double {
        linear <= 0.0031308 ? linear * 12.92 : 1.055 * pow(linear, 1 / 2.4) - 0.055
    }
}
