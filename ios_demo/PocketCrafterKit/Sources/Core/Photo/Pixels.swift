/// A sample of a picture: 0 is black, the highest that fits is white.
protocol Level: FixedWidthInteger & UnsignedInteger {
    /// The sample as a number; the conversion of the type's own, which is faster than that of any integer.
    var float: Float { get }
}

extension UInt8: Level { var float: Float { Float(self) } }

extension UInt16: Level { var float: Float { Float(self) } }

/// A picture of 8 or 16 bits a channel: sRGB-encoded RGB, interleaved, row by row from the top.
public struct Pixels: Equatable, Sendable {
    /// Samples of one depth: 0 is black, the highest that fits is white.
    public enum Samples: Equatable, Sendable {
        case eight([UInt8])
        case sixteen([UInt16])

        /// How many there are.
        public var count: Int {
            switch self {
            case .eight(let levels): levels.count
            case .sixteen(let levels): levels.count
            }
        }
    }

    /// In pixels, ≥ 1.
    public let width: Int
    /// In pixels, ≥ 1.
    public let height: Int
    /// `height · width · 3` of them.
    public let samples: Samples

    /// `height · width · 3` bytes, each from 0 to 255; samples of 16 bits are rounded anew whenever it is asked for.
    public var rgb: [UInt8] {
        switch samples {
        case .eight(let levels): levels
        case .sixteen(let levels): levels.map { UInt8((UInt32($0) + 128) / 257) }
        }
    }

    /// - Throws: ``PocketCrafterError/shape(_:)`` if the sizes do not agree.
    public init(width: Int, height: Int, samples: Samples) throws {
        let (area, overflows) = width.multipliedReportingOverflow(by: height)
        guard width >= 1, height >= 1, !overflows, area <= Int.max / 3, 3 * area == samples.count else {
            throw PocketCrafterError.shape("A picture of \(width)×\(height) px has not \(samples.count) samples of RGB.")
        }
        self.width = width
        self.height = height
        self.samples = samples
    }

    /// A picture of 8 bits a channel.
    ///
    /// - Throws: as ``init(width:height:samples:)``.
    public init(width: Int, height: Int, rgb: [UInt8]) throws {
        try self.init(width: width, height: height, samples: .eight(rgb))
    }

    /// A picture whose samples are known to be `height · width · 3`.
    init(unchecked samples: Samples, like other: Pixels) { self.init(unchecked: samples, other.width, other.height) }

    /// A picture whose samples are known to be `height · width · 3`.
    init(unchecked samples: Samples, _ width: Int, _ height: Int) {
        self.width = width
        self.height = height
        self.samples = samples
    }
}
