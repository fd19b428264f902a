import Foundation

/// Runs networks of one fixed size over larger pictures and latents: overlapping tiles, blended. Counted in latents; a
/// tile as large as the picture is the picture.
struct LatentTiles {
    /// Neighbors share a quarter of a tile's side.
    private static let overlap = 4

    let tile: Int
    let height: Int
    let width: Int

    /// Top and left of each tile, evenly spread.
    var places: [(top: Int, left: Int)] {
        let lefts = starts(width)
        return starts(height).flatMap { top in lefts.map { (top, $0) } }
    }

    /// Runs a network on each tile of its inputs, and blends what it gives.
    ///
    /// - Parameters:
    ///   - given: latents or pixels of the whole picture by name.
    ///   - done: called after each tile; what it throws ends the work.
    ///   - run: from tiles of the inputs, by name, to one tile of latents or pixels.
    /// - Throws: what the network throws, ``PocketCrafterError/shape(_:)`` if its tiles do not fit together.
    func map(
        _ given: [String: Planes], done: () throws -> Void = {}, run: ([String: Planes]) throws -> Planes
    ) throws -> Planes {
        if tile == height, tile == width {
            let made = try run(given)
            try done()
            return made
        }
        var blended: Blended?
        for place in places {
            let made = try run(given.mapValues { values in
                let scale = values.height / height
                return values.cut(
                    top: place.top * scale, left: place.left * scale, height: tile * scale, width: tile * scale)
            })
            var sum = blended ?? Blended(self, made)
            // Let go of the old one, so that nothing is copied.
            blended = nil
            try sum.add(made, place)
            blended = sum
            try done()
        }
        guard let blended else { throw PocketCrafterError.shape("A picture of \(width)×\(height) has no tiles.") }
        return blended.mean
    }

    private func starts(_ side: Int) -> [Int] {
        let stride = tile - tile / Self.overlap
        let count = 1 + (side - tile + stride - 1) / stride
        if count == 1 { return [0] }
        let step = Double(side - tile) / Double(count - 1)
        return (0..<count).map { n in
            n == count - 1 ? side - tile : Int((Double(n) * step).rounded(.toNearestOrEven))
        }
    }

    /// The weights of a tile's values along a side: full in the middle, falling off over what tiles share.
    fileprivate static func window(_ side: Int) -> [Float] {
        let ramp = (0..<side).map { (Float($0) + 0.5) / Float(max(1, side / overlap)) }
        return zip(ramp, ramp.reversed()).map { min(1, min($0, $1)) }
    }

    /// Sums of tiles, and of their weights.
    private struct Blended {
        private let side: Int
        private let scale: Double
        private let window: [Float]
        private var total: Planes
        private var weights: [Float]

        init(_ tiles: LatentTiles, _ made: Planes) {
            side = made.height
            scale = Double(side) / Double(tiles.tile)
            window = LatentTiles.window(side)
            let height = Int((Double(tiles.height) * scale).rounded(.toNearestOrEven))
            let width = Int((Double(tiles.width) * scale).rounded(.toNearestOrEven))
            weights = zeros(height * width)
            total = Planes(unchecked: zeros(made.channels * height * width), made.channels, height, width)
        }

        mutating func add(_ made: Planes, _ place: (top: Int, left: Int)) throws {
            let top = Int((Double(place.top) * scale).rounded(.toNearestOrEven))
            let left = Int((Double(place.left) * scale).rounded(.toNearestOrEven))
            let (width, area) = (total.width, total.width * total.height)
            guard made.height == side, made.width == side, made.channels == total.channels, top + side <= total.height,
                left + side <= width
            else { throw PocketCrafterError.shape("A tile of \(made.width)×\(made.height) does not fit to the others.") }
            for y in 0..<side {
                for x in 0..<side {
                    let weight = window[y] * window[x]
                    let at = (top + y) * width + left + x
                    weights[at] += weight
                    for channel in 0..<made.channels {
                        total.values[channel * area + at] += made.values[(channel * side + y) * side + x] * weight
                    }
                }
            }
        }

        var mean: Planes {
            var mean = total
            for n in mean.values.indices { mean.values[n] /= weights[n % weights.count] }
            return mean
        }
    }
}
