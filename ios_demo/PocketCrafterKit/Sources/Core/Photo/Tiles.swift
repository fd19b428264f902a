/// Overlapping tiles: a network of fixed shape over a photo of any size, without seams.
public struct Tiles: Sendable {
    private let tile: Int
    private let overlap: Int
    private var stride: Int { tile - overlap }

    /// - Parameters:
    ///   - tile: a tile's side, in pixels.
    ///   - overlap: what neighbors share, in pixels; `2 · overlap ≤ tile`.
    public init(tile: Int = Constants.tilePx, overlap: Int = Constants.overlapPx) {
        self.tile = tile
        self.overlap = overlap
    }

    /// Where tiles start along a side of some pixels; the last may reach past its end, where the photo is reflected.
    public func starts(_ length: Int) -> [Int] {
        Array(Swift.stride(from: 0, to: max(1, length - overlap), by: stride))
    }

    /// The blending weight of tile `index` of `count` along a side, shape `(tile)`; those of all tiles add up to 1.
    public func feather(_ index: Int, of count: Int) -> [Float] {
        (0..<tile).map { n in
            if index > 0, n < overlap { return (Float(n) + 0.5) / Float(overlap) }
            if index < count - 1, n >= stride { return 1 - (Float(n - stride) + 0.5) / Float(overlap) }
            return 1
        }
    }

    /// Runs a network over all tiles and blends its results; one band of tiles is held in floats.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - progress: called with tiles done and tiles in all, after each; what it throws ends the work.
    ///   - network: maps a tile, shape `(3, tile, tile)` in [0, 1], to a result of that shape; clipped afterwards.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if the network returns another size,
    ///   ``PocketCrafterError/runner(_:)`` if it returns values that are not finite.
    public func map(
        _ pixels: Pixels, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in },
        network: (_ tile: [Float]) throws -> [Float]
    ) throws -> Pixels {
        let samples: Pixels.Samples = switch pixels.samples {
        case .eight: .eight(try mapped(pixels, progress, network))
        case .sixteen: .sixteen(try mapped(pixels, progress, network))
        }
        return Pixels(unchecked: samples, like: pixels)
    }

    private func mapped<L: Level>(
        _ pixels: Pixels, _ progress: (Int, Int) throws -> Void, _ network: ([Float]) throws -> [Float]
    ) throws -> [L] {
        let white = Double(L.max.float)
        let tops = starts(pixels.height)
        let lefts = starts(pixels.width)
        let across = lefts.indices.map { feather($0, of: lefts.count) }
        let bandWidth = (lefts.last ?? 0) + tile
        var band = [Float](repeating: 0, count: 3 * tile * bandWidth)
        var out = [L](repeating: 0, count: pixels.samples.count)
        for (row, top) in tops.enumerated() {
            let down = feather(row, of: tops.count)
            for (column, left) in lefts.enumerated() {
                let result = try network(Views.cut(pixels, top: top, left: left, side: tile))
                try check(result)
                blend(result, into: &band, bandWidth, left, down, across[column])
                try progress(row * lefts.count + column + 1, tops.count * lefts.count)
            }
            let finished = min(row == tops.count - 1 ? tile : stride, pixels.height - top)
            for y in 0..<finished {
                let start = 3 * (top + y) * pixels.width
                for n in 0..<3 * pixels.width {
                    let level = Double(band[3 * y * bandWidth + n].clamped(to: 0...1)) * white
                    out[start + n] = L(truncatingIfNeeded: Int(level.rounded(.toNearestOrEven)))
                }
            }
            let kept = 3 * overlap * bandWidth
            band.withUnsafeMutableBufferPointer { band in
                for n in 0..<kept { band[n] = band[3 * stride * bandWidth + n] }
                for n in kept..<band.count { band[n] = 0 }
            }
        }
        return out
    }

    private func blend(
        _ result: [Float], into band: inout [Float], _ bandWidth: Int, _ left: Int, _ down: [Float], _ across: [Float]
    ) {
        for y in 0..<tile {
            for x in 0..<tile {
                let weight = down[y] * across[x]
                let at = 3 * (y * bandWidth + left + x)
                for channel in 0..<3 { band[at + channel] += weight * result[(channel * tile + y) * tile + x] }
            }
        }
    }

    private func check(_ result: [Float]) throws {
        guard result.count == 3 * tile * tile else {
            throw PocketCrafterError.shape("A restored tile has \(3 * tile * tile) values, not \(result.count).")
        }
        guard result.allSatisfy(\.isFinite) else {
            throw PocketCrafterError.runner("The restoration network gave values that are not finite.")
        }
    }
}
