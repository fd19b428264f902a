/// A picture of 8 bits a channel: sRGB-encoded RGB, interleaved, row by row from the top.
public struct Pixels: Equatable, Sendable {
    /// In pixels, ≥ 1.
    public let width: Int
    /// In pixels, ≥ 1.
    public let height: Int
    /// `height · width · 3` bytes, each from 0 to 255.
    public let rgb: [UInt8]

    /// - Throws: ``PocketCrafterError/shape(_:)`` if the sizes do not agree.
    public init(width: Int, height: Int, rgb: [UInt8]) throws {
        let (area, overflows) = width.multipliedReportingOverflow(by: height)
        guard width >= 1, height >= 1, !overflows, area <= Int.max / 3, 3 * area == rgb.count else {
            throw PocketCrafterError.shape("A picture of \(width)×\(height) px has not \(rgb.count) bytes of RGB.")
        }
        self.width = width
        self.height = height
        self.rgb = rgb
    }

    /// A picture whose bytes are known to be `height · width · 3`.
    init(unchecked rgb: [UInt8], like other: Pixels) { self.init(unchecked: rgb, other.width, other.height) }

    /// A picture whose bytes are known to be `height · width · 3`.
    init(unchecked rgb: [UInt8], _ width: Int, _ height: Int) {
        self.width = width
        self.height = height
        self.rgb = rgb
    }
}
