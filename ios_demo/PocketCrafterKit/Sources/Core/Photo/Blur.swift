/// Blurs pictures as Pillow does, to the last bit: a Gaussian as three means of boxes with fractional borders (Gwosdek et
/// al., SSVM 2011), first along the rows, then along the columns.
struct Blur {
    private static let passes = 3
    private static let bits = 24
    private let reach: Int
    private let inner: Int
    private let outer: Int

    /// - Parameter deviation: standard deviation of the Gaussian, in pixels.
    init(deviation: Double) {
        let variance = deviation * deviation / Double(Self.passes)
        let whole = (((12 * variance + 1).squareRoot() - 1) / 2).rounded(.down)
        let missing = 6 * (variance - (whole + 1) * (whole + 1))
        let border = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / missing
        reach = Int(whole)
        inner = Int(Double(1 << Self.bits) / (2 * (whole + border) + 1))
        outer = (1 << Self.bits - (2 * reach + 1) * inner) / 2
    }

    /// Returns a picture of the same size; beyond its border the last pixels go on.
    func blurred(_ pixels: Pixels) -> Pixels {
        let row = 3 * pixels.width
        let starts = (0..<3 * pixels.height).map { $0 / 3 * row + $0 % 3 }
        var rgb = pixels.rgb
        for _ in 0..<Self.passes { rgb = mean(rgb, starts, step: 3, count: pixels.width) }
        for _ in 0..<Self.passes { rgb = mean(rgb, Array(0..<row), step: row, count: pixels.height) }
        return Pixels(unchecked: .eight(rgb), like: pixels)
    }

    /// The means along lines of samples that lie a step apart; rounded.
    private func mean(_ rgb: [UInt8], _ starts: [Int], step: Int, count: Int) -> [UInt8] {
        var out = rgb
        for start in starts {
            func level(_ place: Int) -> Int { Int(rgb[start + step * place.clamped(to: 0...count - 1)]) }
            for n in 0..<count {
                var inside = 0
                for place in n - reach...n + reach { inside += level(place) }
                let border = level(n - reach - 1) + level(n + reach + 1)
                out[start + step * n] = UInt8((inside * inner + border * outer + 1 << (Self.bits - 1)) >> Self.bits)
            }
        }
        return out
    }
}
