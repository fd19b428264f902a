/// Rotary position embeddings of a language model.
struct Rotary {
    let settings: RotarySettings

    private var axes: Int { max(1, settings.sections.count) }

    /// Returns cosines and sines, shape `(N, head width)` each.
    ///
    /// The angle is a product of float32 numbers, as where models are trained: at position 1000 a product in float64 would
    /// be 10⁻⁴ rad away.
    ///
    /// - Parameter positions: shape `(axes, N)`; a text's may come as one axis.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if the positions do not have the model's axes.
    func at(_ positions: [[Int]]) throws -> (cosines: [Float], sines: [Float]) {
        let rows = positions.count == 1 ? [[Int]](repeating: positions[0], count: axes) : positions
        guard rows.count == axes, Set(rows.map(\.count)).count == 1 else {
            throw PocketCrafterError.shape("Positions have \(axes) axes here; they came with \(positions.count).")
        }
        let turned = turns()
        var cosines: [Float] = [], sines: [Float] = []
        for n in rows[0].indices {
            let angles = zip(turned, settings.frequencies).map { Float(rows[$0][n]) * $1 }
            // Both halves of a head alike.
            for angle in angles + angles {
                cosines.append(cosine(angle) * settings.scale)
                sines.append(sine(angle) * settings.scale)
            }
        }
        return (cosines, sines)
    }

    /// Which axis of a position turns each frequency.
    private func turns() -> [Int] {
        let count = settings.frequencies.count
        if settings.sections.isEmpty { return [Int](repeating: 0, count: count) }
        if settings.interleaved {
            return (0..<count).map { n in
                let turn = n % settings.sections.count
                return n < settings.sections.count * settings.sections[turn] ? turn : 0
            }
        }
        return settings.sections.enumerated().flatMap { [Int](repeating: $0, count: $1) }
    }
}

/// What reading some positions gave.
struct Read {
    /// Of the word that follows the last of them, shape `(vocabulary)`.
    let logits: [Float]
    /// Hidden states of each, shape `(positions, width)`.
    let hidden: [Float]
}

/// One text in a language model: the caches of what was read of it.
final class TextReader {
    /// The function that reads a chunk of positions; the component's default one reads a single one.
    static let prefill = "prefill"
    private let step: any Runner
    private let chunk: any Runner
    private let size: Int
    private let rotary: Rotary
    private let outputs: (step: Component, chunk: Component)
    /// Layers times heads, positions, and a head's channels.
    private let cache: (stacks: Int, length: Int, channels: Int)
    private var keys: [Float]
    private var values: [Float]

    /// Positions that were read.
    private(set) var count = 0

    /// - Parameters:
    ///   - step: the opened component.
    ///   - chunk: its function ``prefill``.
    ///   - language: its contract.
    ///   - rotary: its rotations.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the contract is no language model's.
    init(step: any Runner, chunk: any Runner, _ language: Component, _ rotary: Rotary) throws {
        let prefill = try language.function(Self.prefill)
        guard let shape = language.inputs.first(where: { $0.name == "keys" })?.shape, shape.count == 4,
            let rows = prefill.inputs.first(where: { $0.name == "embeddings" })?.shape.first
        else { throw PocketCrafterError.bundle("`\(language.name)` is no language model: it has no caches.") }
        self.step = step
        self.chunk = chunk
        self.rotary = rotary
        size = rows
        outputs = (language, prefill)
        cache = (shape[0] * shape[1], shape[2], shape[3])
        keys = zeros(shape.reduce(1, *))
        values = keys
    }

    /// Reads further positions.
    ///
    /// - Parameters:
    ///   - embeddings: vectors of one or more positions, shape `(N, width)`.
    ///   - positions: where they are, as ``Rotary/at(_:)`` takes it.
    ///   - check: called before every run of the network; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/config(_:)`` if there is no position, or the caches have no room for so many;
    ///   ``PocketCrafterError/runner(_:)`` if the network fails.
    func read(_ embeddings: [Float], at positions: [[Int]], check: () throws -> Void) throws -> Read {
        let total = positions.first?.count ?? 0
        guard total > 0, total <= cache.length - count else {
            throw PocketCrafterError.config(
                "\(total) positions to read; the language model has read \(count) and holds \(cache.length).")
        }
        let (cosines, sines) = try rotary.at(positions)
        let rows = total == 1 ? 1 : size
        var hidden: [Float] = [], logits: [Float] = []
        for start in stride(from: 0, to: total, by: rows) {
            try check()
            let part = start..<min(start + rows, total)
            func slice(_ array: [Float]) -> [Float] {
                let width = array.count / total
                return Array(array[part.lowerBound * width..<part.upperBound * width]) + zeros((rows - part.count) * width)
            }
            let given = ["embeddings": slice(embeddings), "cosines": slice(cosines), "sines": slice(sines)]
            let said = try run(given, part.count, rows)
            logits = said.logits
            hidden += said.hidden
        }
        return Read(logits: logits, hidden: hidden)
    }

    private func run(_ given: [String: [Float]], _ positions: Int, _ rows: Int) throws -> Read {
        let contract = rows == 1 ? outputs.step : outputs.chunk
        let made = try answer(given, positions, rows)
        func output(_ name: String) throws -> (values: [Float], shape: [Int]) {
            guard let spec = contract.outputs.first(where: { $0.name == name }) else {
                throw PocketCrafterError.bundle("`\(contract.name)` has no output `\(name)`.")
            }
            return (try made.output(name, count: spec.count, of: contract.name), spec.shape)
        }
        keep(try output("new_keys").values, positions, rows, in: &keys)
        keep(try output("new_values").values, positions, rows, in: &values)
        count += positions
        let hidden = try output("hidden")
        return Read(logits: try output("logits").values, hidden: Array(hidden.values.prefix(positions * hidden.shape[1])))
    }

    // The inputs are gone when the caches change: nothing is copied for them.
    private func answer(_ given: [String: [Float]], _ positions: Int, _ rows: Int) throws -> [String: [Float]] {
        var mask = [Float](repeating: Float(Constants.masked), count: rows * (cache.length + rows))
        for row in 0..<rows {
            let start = row * (cache.length + rows)
            for n in 0..<count { mask[start + n] = 0 }
            for n in 0...row { mask[start + cache.length + n] = 0 }
        }
        let more = ["mask": mask, "keys": keys, "values": values, "pick": oneHot(positions - 1, rows)]
        return try (rows == 1 ? step : chunk).run(given.merging(more) { own, _ in own })
    }

    private func keep(_ new: [Float], _ positions: Int, _ rows: Int, in caches: inout [Float]) {
        let channels = cache.channels
        for stack in 0..<cache.stacks {
            let (from, to) = (stack * rows * channels, (stack * cache.length + count) * channels)
            for n in 0..<positions * channels { caches[to + n] = new[from + n] }
        }
    }
}
