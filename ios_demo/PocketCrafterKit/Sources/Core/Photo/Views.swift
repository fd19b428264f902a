/// What the networks see of a photo: the whole of it, small, and a few crops at native resolution.
public enum Views {
    private static let alignPx = 8

    /// Resizes the whole photo to the networks' view; each cell is the exact mean of the area it covers.
    ///
    /// - Returns: shape `(3, viewPx, viewPx)` in [0, 1]; the aspect is not kept.
    public static func global(_ pixels: Pixels) -> [Float] {
        switch pixels.samples {
        case .eight(let levels): global(levels, pixels.width, pixels.height)
        case .sixteen(let levels): global(levels, pixels.width, pixels.height)
        }
    }

    private static func global<L: Level>(_ levels: [L], _ width: Int, _ height: Int) -> [Float] {
        let side = Constants.viewPx
        let top = Double(L.max.float)
        let samples = 3 * width
        let across = areas(width)
        var view = [Float](repeating: 0, count: 3 * side * side)
        var row = [Double](repeating: 0, count: samples)
        levels.withUnsafeBufferPointer { rgb in
            for (y, down) in areas(height).enumerated() {
                row.withUnsafeMutableBufferPointer { row in
                    row.update(repeating: 0)
                    for source in down.first...down.last {
                        let share = down.share(source)
                        let start = source * samples
                        for n in 0..<samples { row[n] += share * Double(rgb[start + n].float) }
                    }
                    for (x, area) in across.enumerated() {
                        for channel in 0..<3 {
                            var mean = 0.0
                            for source in area.first...area.last { mean += area.share(source) * row[3 * source + channel] }
                            view[(channel * side + y) * side + x] = Float(mean / top).clamped(to: 0...1)
                        }
                    }
                }
            }
        }
        return view
    }

    /// Cuts the detail crops out of the photo, unscaled; photos smaller than a crop are extended by reflection.
    ///
    /// - Returns: shape `(crops, 3, cropPx, cropPx)` in [0, 1], in the order of ``cropOrigins(height:width:)``.
    public static func crops(_ pixels: Pixels) -> [Float] {
        cropOrigins(height: pixels.height, width: pixels.width).flatMap { origin in
            cut(pixels, top: origin.top, left: origin.left, side: Constants.cropPx)
        }
    }

    /// Places the detail crops: one at the center of each quadrant, on the 8 px lattice of JPEG blocks.
    ///
    /// - Parameters:
    ///   - height: of the photo, in pixels.
    ///   - width: of the photo, in pixels.
    /// - Returns: the upper left corner of each crop, row by row; multiples of 8.
    public static func cropOrigins(height: Int, width: Int) -> [(top: Int, left: Int)] {
        corners(height).flatMap { top in corners(width).map { left in (top: top, left: left) } }
    }

    /// Cuts a square out of a photo, which is reflected past its borders.
    ///
    /// - Returns: shape `(3, side, side)` in [0, 1].
    static func cut(_ pixels: Pixels, top: Int, left: Int, side: Int) -> [Float] {
        let rows = (0..<side).map { 3 * reflected(top + $0, pixels.height) * pixels.width }
        let columns = (0..<side).map { 3 * reflected(left + $0, pixels.width) }
        return switch pixels.samples {
        case .eight(let levels): cut(levels, rows, columns)
        case .sixteen(let levels): cut(levels, rows, columns)
        }
    }

    /// - Parameters:
    ///   - rows: where each row of the square starts.
    ///   - columns: where each of its columns lies in a row.
    private static func cut<L: Level>(_ levels: [L], _ rows: [Int], _ columns: [Int]) -> [Float] {
        let (side, top) = (rows.count, L.max.float)
        var out = [Float](repeating: 0, count: 3 * side * side)
        levels.withUnsafeBufferPointer { rgb in
            for (y, start) in rows.enumerated() {
                for x in 0..<side {
                    for channel in 0..<3 {
                        out[(channel * side + y) * side + x] = rgb[start + columns[x] + channel].float / top
                    }
                }
            }
        }
        return out
    }

    private static func corners(_ side: Int) -> [Int] {
        let last = max(0, side - Constants.cropPx)
        return [side / 4, 3 * side / 4].map { min(max($0 - Constants.cropPx / 2, 0), last) / alignPx * alignPx }
    }

    /// A cell's part of a side: samples `first` to `last`, the outer ones counted by their share.
    private struct Area {
        let first: Int
        let last: Int
        let firstShare: Double
        let lastShare: Double
        let scale: Double

        func share(_ sample: Int) -> Double {
            var share = 1.0
            if sample == first { share -= firstShare }
            if sample == last { share -= 1 - lastShare }
            return share * scale
        }
    }

    private static func areas(_ length: Int) -> [Area] {
        let side = Double(Constants.viewPx)
        let edges = (0...Constants.viewPx).map { Double($0 * length) / side }
        return zip(edges, edges.dropFirst()).map { start, end in
            let first = min(Int(start), length - 1)
            let last = min(Int(end), length - 1)
            return Area(
                first: first, last: last, firstShare: start - Double(first), lastShare: end - Double(last),
                scale: side / Double(length))
        }
    }

    /// The sample that a place past the end of a side shows: reflection that does not repeat the border.
    private static func reflected(_ place: Int, _ side: Int) -> Int {
        if side == 1 { return 0 }
        let period = 2 * side - 2
        let index = place % period
        return min(index, period - index)
    }
}
