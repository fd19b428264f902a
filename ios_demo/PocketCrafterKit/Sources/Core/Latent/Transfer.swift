import Foundation

/// A grid of affine color transforms, fitted to an edit that was made at a small size.
struct Transfer {
    private static let bins = Constants.gridBins
    private static let rows = Constants.gridRows
    private static let columns = Constants.gridColumns
    /// Red, green, blue and one.
    private static let terms = 4
    private static let sums = 22
    /// What the pixels around a cell add to its own: their share, and over how many cells they are averaged.
    private static let wider = [(share: 0.05, reach: 1), (share: 0.002, reach: 3)]
    /// Side of what is fitted; of larger pictures, every second or third pixel tells as much.
    private static let mostPx = 512
    /// Pull towards identity, as a share of a photo's pixels in a cell: what no pixel decides stays as it is.
    private static let ridge = 1e-5

    /// Applied to the small picture before the edit, it gives about the one after.
    let grid: ToneGrid
    /// How far it misses that, PSNR of pictures in [0, 1] in decibels; infinite where it does not.
    let errorDb: Double

    /// Fits a grid: each cell has the least-squares affine transform of the pixels around it in place and luma, each
    /// weighted as slicing weights the cell. Where few pixels are, more distant ones decide; where none are, nothing changes.
    ///
    /// - Parameters:
    ///   - before: a picture of three planes in [0, 1].
    ///   - after: its edit, of the same size.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if the two are not of one shape.
    init(_ before: Planes, _ after: Planes) throws {
        guard before.channels == 3, after.channels == 3, before.height == after.height, before.width == after.width else {
            throw PocketCrafterError.shape("An edit has one size before and after.")
        }
        let step = (max(before.height, before.width) + Self.mostPx - 1) / Self.mostPx
        let (small, edited) = (Self.thinned(before, step), Self.thinned(after, step))
        let solved = try Self.solved(Self.moments(small, edited), pixels: small.height * small.width)
        grid = try ToneGrid(solved)
        var power = 0.0
        var slicer = grid.slicer(width: small.width, height: small.height)
        let area = small.width * small.height
        for y in 0..<small.height {
            slicer.move(to: y)
            for x in 0..<small.width {
                let at = y * small.width + x
                var rgb = SIMD3(small.values[at], small.values[area + at], small.values[2 * area + at])
                slicer.apply(x, &rgb)
                for channel in 0..<3 {
                    let missed = rgb[channel].clamped(to: 0...1) - edited.values[channel * area + at]
                    power += Double(missed) * Double(missed)
                }
            }
        }
        errorDb = power == 0 ? .infinity : -10 * log10(power / Double(3 * area))
    }

    private static func thinned(_ planes: Planes, _ step: Int) -> Planes {
        if step == 1 { return planes }
        let rows = Array(stride(from: 0, to: planes.height, by: step))
        let columns = Array(stride(from: 0, to: planes.width, by: step))
        var out: [Float] = []
        for channel in 0..<planes.channels {
            for y in rows { for x in columns { out.append(planes.values[(channel * planes.height + y) * planes.width + x]) } }
        }
        return Planes(unchecked: out, planes.channels, rows.count, columns.count)
    }

    /// Each cell's weighted sums of products: of the terms with each other (the upper triangle, row by row), each
    /// followed by those with what became of red, green and blue. Shape `(bins, rows, columns, sums)`.
    private static func moments(_ before: Planes, _ after: Planes) -> [Double] {
        var total = [Double](repeating: 0, count: bins * rows * columns * sums)
        let area = before.width * before.height
        let across = (0..<before.width).map { place($0, before.width, columns) }
        var products = [Double](repeating: 0, count: sums)
        total.withUnsafeMutableBufferPointer { total in
            for y in 0..<before.height {
                let down = place(y, before.height, rows)
                for x in 0..<before.width {
                    let at = y * before.width + x
                    let both = [
                        Double(before.values[at]), Double(before.values[area + at]), Double(before.values[2 * area + at]), 1,
                        Double(after.values[at]), Double(after.values[area + at]), Double(after.values[2 * area + at]),
                    ]
                    var n = 0
                    for first in 0..<terms {
                        for second in first..<terms + 3 {
                            products[n] = both[first] * both[second]
                            n += 1
                        }
                    }
                    let luma = Constants.lumaRed * both[0] + Constants.lumaGreen * both[1] + Constants.lumaBlue * both[2]
                    let tone = luma.clamped(to: 0...1) * Double(bins - 1)
                    let bin = min(Int(tone), bins - 2)
                    for (k, light) in [(bin, 1 - (tone - Double(bin))), (bin + 1, tone - Double(bin))] where light > 0 {
                        for (row, lower) in [(down.cell, 1 - down.share), (down.cell + 1, down.share)] {
                            for (column, right) in [(across[x].cell, 1 - across[x].share), (across[x].cell + 1, across[x].share)] {
                                let weight = light * lower * right
                                let start = ((k * rows + row) * columns + column) * sums
                                for n in 0..<sums { total[start + n] += weight * products[n] }
                            }
                        }
                    }
                }
            }
        }
        return total
    }

    /// The cell at or before a pixel along a side, and how far the pixel is on the way to the next one.
    private static func place(_ pixel: Int, _ pixels: Int, _ cells: Int) -> (cell: Int, share: Double) {
        let place = (Double(pixel) + 0.5) / Double(pixels) * Double(cells - 1)
        let cell = min(Int(place), cells - 2)
        return (cell, place - Double(cell))
    }

    /// The coefficients of each cell, shape of a ``ToneGrid``.
    private static func solved(_ moments: [Double], pixels: Int) throws -> [Float] {
        let cells = bins * rows * columns
        var wide = moments
        for (share, reach) in wider {
            for (n, mean) in averaged(moments, reach).enumerated() { wide[n] += share * mean }
        }
        var everywhere = [Double](repeating: 0, count: sums)
        for n in moments.indices { everywhere[n % sums] += moments[n] / Double(pixels) }
        var grid = zeros(ToneGrid.count)
        for cell in 0..<cells {
            let own = (0..<sums).map { wide[cell * sums + $0] + 1e-6 * everywhere[$0] }
            var matrix = [[Double]](repeating: [Double](repeating: 0, count: terms + 3), count: terms)
            var n = 0
            for first in 0..<terms {
                for second in first..<terms + 3 {
                    matrix[first][second] = own[n]
                    if second < terms { matrix[second][first] = own[n] }
                    n += 1
                }
            }
            let pull = ridge * max(matrix[3][3], 1e-3)
            for term in 0..<terms {
                matrix[term][term] += pull
                if term < 3 { matrix[term][terms + term] += pull }
            }
            let solution = solve(&matrix)
            for channel in 0..<3 {
                for term in 0..<terms { grid[(channel * terms + term) * cells + cell] = Float(solution[term][channel]) }
            }
        }
        return grid
    }

    /// Solves four equations for three right sides, which stand behind them; Gaussian elimination with pivots.
    private static func solve(_ rows: inout [[Double]]) -> [[Double]] {
        for n in 0..<terms {
            let pivot = (n..<terms).max { abs(rows[$0][n]) < abs(rows[$1][n]) } ?? n
            rows.swapAt(n, pivot)
            for other in n + 1..<terms {
                let factor = rows[other][n] / rows[n][n]
                for column in n..<terms + 3 { rows[other][column] -= factor * rows[n][column] }
            }
        }
        var solution = [[Double]](repeating: [0, 0, 0], count: terms)
        for n in (0..<terms).reversed() {
            for side in 0..<3 {
                let known = (n + 1..<terms).reduce(rows[n][terms + side]) { $0 - rows[n][$1] * solution[$1][side] }
                solution[n][side] = known / rows[n][n]
            }
        }
        return solution
    }

    /// The mean of the cells around each, `2·reach + 1` along each axis; what is outside counts as zero.
    private static func averaged(_ values: [Double], _ reach: Int) -> [Double] {
        var values = values
        for (length, stride) in [(bins, rows * columns * sums), (rows, columns * sums), (columns, sums)] {
            let given = values
            for n in values.indices {
                let place = n / stride % length
                let near = max(0, place - reach)...min(length - 1, place + reach)
                values[n] = near.reduce(0) { $0 + given[n + ($1 - place) * stride] } / Double(2 * reach + 1)
            }
        }
        return values
    }
}
