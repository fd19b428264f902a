import Foundation

/// A filter of Pillow's, with Pillow's numbers: networks were trained on pictures that it made small.
public enum Resampling: String, Sendable {
    case nearest, bilinear, bicubic, lanczos

    /// How far it reaches, in pixels of the source where nothing is made smaller.
    private var support: Double {
        switch self {
        case .nearest: 0
        case .bilinear: 1
        case .bicubic: 2
        case .lanczos: 3
        }
    }

    private func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .nearest: return 0
        case .bilinear: return x < 1 ? 1 - x : 0
        case .bicubic:
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
        case .lanczos: return -3 <= distance && distance < 3 ? Self.sinc(distance) * Self.sinc(distance / 3) : 0
        }
    }

    private static func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * .pi) / (x * .pi) }

    /// What one sample of the result is made of: samples of the source from `first` on.
    private struct Tap {
        let first: Int
        let weights: [Double]
    }

    private func taps(_ length: Int, from start: Double, to end: Double, count: Int) -> [Tap] {
        let scale = (end - start) / Double(count)
        let stretch = max(scale, 1)
        let reach = support * stretch
        return (0..<count).map { n in
            let center = start + (Double(n) + 0.5) * scale
            let first = max(0, Int(center - reach + 0.5))
            let last = min(length, Int(center + reach + 0.5))
            let weights = (first..<max(first, last)).map { weight((Double($0) - center + 0.5) / stretch) }
            let sum = weights.reduce(0, +)
            return Tap(first: first, weights: sum == 0 ? weights : weights.map { $0 / sum })
        }
    }

    /// Resizes a part of a picture at 8 bits, to which samples of 16 are rounded.
    ///
    /// - Parameters:
    ///   - pixels: the picture.
    ///   - width: of the result, in pixels, ≥ 1.
    ///   - height: of the result, in pixels, ≥ 1.
    ///   - box: the part; all of it where `nil`.
    func resized(_ pixels: Pixels, width: Int, height: Int, box: CropBox? = nil) -> Pixels {
        let box = box ?? CropBox(left: 0, top: 0, right: pixels.width, bottom: pixels.height)
        if self == .nearest { return nearest(pixels, width, height, box) }
        let columns = Double(box.left)...Double(box.right)
        return resized(pixels, width, height, columns, Double(box.top)...Double(box.bottom))
    }

    /// Makes a picture smaller in two passes where it is very large: means of whole blocks first, so that each sample of the
    /// result still has `gap` samples of the blocks along each side.
    func reduced(_ pixels: Pixels, width: Int, height: Int, gap: Double) -> Pixels {
        let across = max(1, Int(Double(pixels.width) / Double(width) / gap))
        let down = max(1, Int(Double(pixels.height) / Double(height) / gap))
        if across == 1, down == 1 { return resized(pixels, width: width, height: height) }
        let columns = 0...Double(pixels.width) / Double(across)
        return resized(Self.means(pixels, across, down), width, height, columns, 0...Double(pixels.height) / Double(down))
    }

    private func resized(
        _ pixels: Pixels, _ width: Int, _ height: Int, _ columns: ClosedRange<Double>, _ rows: ClosedRange<Double>
    ) -> Pixels {
        // Pillow's order; it matters, as each pass is rounded.
        if pixels.height - height > 2 * max(0, pixels.width - width) {
            return across(down(pixels, height, rows), width, columns)
        }
        return down(across(pixels, width, columns), height, rows)
    }

    private func across(_ pixels: Pixels, _ width: Int, _ part: ClosedRange<Double>) -> Pixels {
        if width == pixels.width, part == 0...Double(width) { return pixels }
        let columns = taps(pixels.width, from: part.lowerBound, to: part.upperBound, count: width)
            .map { (first: $0.first, weights: $0.weights.map(Self.fixed)) }
        var out = [UInt8](repeating: 0, count: 3 * width * pixels.height)
        pixels.rgb.withUnsafeBufferPointer { source in
            for y in 0..<pixels.height {
                for (x, tap) in columns.enumerated() {
                    for channel in 0..<3 {
                        var sum = Self.half
                        for (n, weight) in tap.weights.enumerated() {
                            sum += weight * Int(source[3 * (y * pixels.width + tap.first + n) + channel])
                        }
                        out[3 * (y * width + x) + channel] = Self.level(sum)
                    }
                }
            }
        }
        return Pixels(unchecked: .eight(out), width, pixels.height)
    }

    private func down(_ pixels: Pixels, _ height: Int, _ part: ClosedRange<Double>) -> Pixels {
        if height == pixels.height, part == 0...Double(height) { return pixels }
        let samples = 3 * pixels.width
        var out = [UInt8](repeating: 0, count: samples * height)
        var sums = [Int](repeating: 0, count: samples)
        pixels.rgb.withUnsafeBufferPointer { source in
            for (y, tap) in taps(pixels.height, from: part.lowerBound, to: part.upperBound, count: height).enumerated() {
                for n in 0..<samples { sums[n] = Self.half }
                for (row, weight) in tap.weights.map(Self.fixed).enumerated() {
                    let start = samples * (tap.first + row)
                    for n in 0..<samples { sums[n] += weight * Int(source[start + n]) }
                }
                for n in 0..<samples { out[samples * y + n] = Self.level(sums[n]) }
            }
        }
        return Pixels(unchecked: .eight(out), pixels.width, height)
    }

    /// Resizes planes of floats, first along their rows; not for ``nearest``.
    func resized(_ planes: Planes, width: Int, height: Int) -> Planes {
        var across = planes
        if width != planes.width {
            let columns = taps(planes.width, from: 0, to: Double(planes.width), count: width)
            across = Planes(unchecked: [], planes.channels, planes.height, width)
            across.values.reserveCapacity(planes.channels * planes.height * width)
            for row in 0..<planes.channels * planes.height {
                for tap in columns {
                    let start = row * planes.width + tap.first
                    var sum = 0.0
                    for (n, weight) in tap.weights.enumerated() { sum += Double(planes.values[start + n]) * weight }
                    across.values.append(Float(sum))
                }
            }
        }
        if height == planes.height { return across }
        let rows = taps(planes.height, from: 0, to: Double(planes.height), count: height)
        var out = Planes(unchecked: [], planes.channels, height, width)
        out.values.reserveCapacity(planes.channels * height * width)
        for channel in 0..<planes.channels {
            for tap in rows {
                let start = (channel * planes.height + tap.first) * width
                for x in 0..<width {
                    var sum = 0.0
                    for (n, weight) in tap.weights.enumerated() { sum += Double(across.values[start + n * width + x]) * weight }
                    out.values.append(Float(sum))
                }
            }
        }
        return out
    }

    /// The means of blocks, which are smaller at the right and at the bottom where the sides are no multiples.
    private static func means(_ pixels: Pixels, _ across: Int, _ down: Int) -> Pixels {
        let (width, height) = ((pixels.width + across - 1) / across, (pixels.height + down - 1) / down)
        let rgb = pixels.rgb
        var out: [UInt8] = []
        out.reserveCapacity(3 * width * height)
        for y in 0..<height {
            let rows = y * down..<min((y + 1) * down, pixels.height)
            for x in 0..<width {
                let columns = x * across..<min((x + 1) * across, pixels.width)
                let count = rows.count * columns.count
                let factor = Int(Float(1 << 24) / Float(count))
                for channel in 0..<3 {
                    var sum = count / 2
                    for row in rows { for column in columns { sum += Int(rgb[3 * (row * pixels.width + column) + channel]) } }
                    out.append(UInt8((sum * factor) >> 24))
                }
            }
        }
        return Pixels(unchecked: .eight(out), width, height)
    }

    private func nearest(_ pixels: Pixels, _ width: Int, _ height: Int, _ box: CropBox) -> Pixels {
        func places(_ first: Int, _ length: Int, _ count: Int) -> [Int] {
            // Added up, as Pillow does, so that rounding falls the same way.
            let step = Double(length) / Double(count)
            var place = Double(first) + step * 0.5
            return (0..<count).map { _ in
                defer { place += step }
                return Int(place)
            }
        }
        let columns = places(box.left, box.right - box.left, width)
        let rgb = pixels.rgb
        var out: [UInt8] = []
        out.reserveCapacity(3 * width * height)
        for y in places(box.top, box.bottom - box.top, height) {
            for x in columns {
                let at = 3 * (y * pixels.width + x)
                out += rgb[at..<at + 3]
            }
        }
        return Pixels(unchecked: .eight(out), width, height)
    }

    // Weights of 22 bits, as Pillow has them for 8-bit pictures.
    private static let bits = 22
    private static let half = 1 << (bits - 1)

    private static func fixed(_ weight: Double) -> Int {
        Int(weight * Double(1 << bits) + (weight < 0 ? -0.5 : 0.5))
    }

    private static func level(_ sum: Int) -> UInt8 { UInt8((sum >> bits).clamped(to: 0...255)) }
}
