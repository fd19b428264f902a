import Foundation

/// Where what stands out lies in a frame, whose sides are 1.
struct FrameFacts: Equatable {
    /// Distance of its center from the nearest crossing of the thirds.
    let toThird: Double
    /// Distance of its center from the middle.
    let toMiddle: Double
    /// Share of it near the border: what the frame cuts.
    let atBorder: Double
}

/// Where a photo's colors stand out: facts for the reasons, not for the ranking.
struct Salience {
    private static let thirds = [1.0 / 3, 2.0 / 3]
    let width: Int
    let height: Int
    /// Shape `(height, width)`, in [0, 1].
    let values: [Float]

    init(width: Int, height: Int, values: [Float]) {
        (self.width, self.height, self.values) = (width, height, values)
    }

    /// Measures how far each place's color is from the mean color (Achanta et al., CVPR 2009).
    init(_ pixels: Pixels) {
        let share = min(1, Double(Constants.mapPx) / Double(max(pixels.width, pixels.height)))
        let (width, height) = (max(1, rounded(Double(pixels.width) * share)), max(1, rounded(Double(pixels.height) * share)))
        let resized = Resampling.bilinear.resized(pixels, width: width, height: height)
        let small = Blur(deviation: Constants.salienceBlurPx).blurred(resized)
        let rgb = small.rgb
        let colors = (0..<width * height).map { n in Self.opponents((0..<3).map { Double(rgb[3 * n + $0]) / 255 }) }
        let mean = (0..<3).map { plane in colors.reduce(0.0) { $0 + $1[plane] } / Double(colors.count) }
        let distances = colors.map { color in
            zip(color, mean).map(-).reduce(0.0) { $0 + $1 * $1 }.squareRoot()
        }
        let background = Self.quantile(distances, Constants.backgroundQuantile)
        let above = distances.map { max(0, $0 - background) }
        let top = above.max() ?? 0
        self.init(width: width, height: height, values: above.map { Float(top > 0 ? $0 / top : 0) })
    }

    /// Measures a box of the photo.
    ///
    /// - Parameters:
    ///   - box: the frame.
    ///   - across: width of the photo, in pixels of the box.
    ///   - down: height of the photo, in pixels of the box.
    func facts(_ box: CropBox, across: Int, down: Int) -> FrameFacts {
        var (total, deep, sumX, sumY) = (0.0, 0.0, 0.0, 0.0)
        for row in 0..<height {
            let y = ((Double(row) + 0.5) / Double(height) * Double(down) - Double(box.top)) / Double(box.height)
            for column in 0..<width {
                let x = ((Double(column) + 0.5) / Double(width) * Double(across) - Double(box.left)) / Double(box.width)
                guard 0...1 ~= x, 0...1 ~= y else { continue }
                let mass = Double(values[row * width + column])
                total += mass
                sumX += mass * x
                sumY += mass * y
                if Self.isDeep(x), Self.isDeep(y) { deep += mass }
            }
        }
        if total <= 0 { return FrameFacts(toThird: Self.toThird(0.5, 0.5), toMiddle: 0, atBorder: 0) }
        let (x, y) = ((sumX / total).clamped(to: 0...1), (sumY / total).clamped(to: 0...1))
        return FrameFacts(
            toThird: Self.toThird(x, y), toMiddle: hypot(x - 0.5, y - 0.5), atBorder: (1 - deep / total).clamped(to: 0...1))
    }

    private static func isDeep(_ place: Double) -> Bool { place > Constants.edgeShare && place < 1 - Constants.edgeShare }

    private static func toThird(_ x: Double, _ y: Double) -> Double {
        let distances = thirds.flatMap { across in thirds.map { hypot(x - across, y - $0) } }
        return distances.reduce(.infinity, min)
    }

    /// Opponent colors: Lab without its cube roots, which tell nothing more here.
    private static func opponents(_ rgb: [Double]) -> [Double] {
        let (r, g, b) = (rgb[0], rgb[1], rgb[2])
        return [(r + g + b) / 3, (r - g) / 2, (r + g) / 4 - b / 2]
    }

    /// The value that a share of all values lies below; between two of them, on the line.
    private static func quantile(_ values: [Double], _ share: Double) -> Double {
        let sorted = values.sorted()
        let place = share * Double(sorted.count - 1)
        let below = sorted[Int(place)]
        return below + (sorted[min(Int(place) + 1, sorted.count - 1)] - below) * (place - place.rounded(.down))
    }
}
