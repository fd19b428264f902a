/// Channels of a picture or of latents: shape `(1, channels, height, width)`, C order.
public struct Planes: Equatable, Sendable {
    /// ≥ 1.
    public let channels: Int
    /// In pixels or latents, ≥ 1.
    public let height: Int
    /// In pixels or latents, ≥ 1.
    public let width: Int
    /// `channels · height · width` of them.
    public var values: [Float]

    /// - Throws: ``PocketCrafterError/shape(_:)`` if the sizes do not agree.
    public init(channels: Int, height: Int, width: Int, _ values: [Float]) throws {
        guard min(channels, height, width) >= 1, values.count == channels * height * width else {
            throw PocketCrafterError.shape(
                "\(channels) planes of \(width)×\(height) have not \(values.count) values.")
        }
        self.init(unchecked: values, channels, height, width)
    }

    /// Planes whose values are known to be as many.
    init(unchecked values: [Float], _ channels: Int, _ height: Int, _ width: Int) {
        self.channels = channels
        self.height = height
        self.width = width
        self.values = values
    }

    /// Planes of a picture: its levels of 8 bits over 255.
    init(_ pixels: Pixels) {
        let size = pixels.width * pixels.height
        let rgb = pixels.rgb
        var values = zeros(3 * size)
        for n in 0..<size {
            for channel in 0..<3 { values[channel * size + n] = Float(rgb[3 * n + channel]) / 255 }
        }
        self.init(unchecked: values, 3, pixels.height, pixels.width)
    }

    /// Returns planes of the same sizes, each value made of one of these.
    func map(_ change: (Float) -> Float) -> Planes { Planes(unchecked: values.map(change), channels, height, width) }

    /// Returns a part, which lies inside.
    func cut(top: Int, left: Int, height rows: Int, width columns: Int) -> Planes {
        var out: [Float] = []
        out.reserveCapacity(channels * rows * columns)
        for channel in 0..<channels {
            for y in top..<top + rows {
                let start = (channel * height + y) * width + left
                out += values[start..<start + columns]
            }
        }
        return Planes(unchecked: out, channels, rows, columns)
    }
}
