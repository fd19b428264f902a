import PocketCrafterCore

/// The caches of a language model whose graph has an input and an output for each layer: `keys.0`, `new_keys.0`.
///
/// Both are one place in memory: the graph writes what new positions add behind what was read, and copies nothing.
final class LayerCaches {
    /// Inputs of the contract that are caches, and the outputs that are added to each.
    static let names = ["keys": "new_keys", "values": "new_values"]

    private let layers: Int
    private let heads: Int
    /// Channels of a head.
    private let width: Int
    /// Positions that were read.
    private let read: Int
    /// Positions that the function reads.
    private let count: Int
    private let memory: [String: UnsafeMutablePointer<Float>]

    private var rows: Int { read + count }
    private var size: Int { heads * rows * width }

    /// What the graph calls one layer's part of a tensor.
    static func part(_ name: String, _ layer: Int) -> String { "\(name).\(layer)" }

    /// - Parameters:
    ///   - contract: of the function that runs.
    ///   - inputs: as the contract says; the first row of `mask` says how many positions were read.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the contract is no language model's.
    init(_ contract: Component, _ inputs: [String: [Float]]) throws {
        let shapes = Dictionary(uniqueKeysWithValues: contract.inputs.map { ($0.name, $0.shape) })
        guard let whole = shapes["keys"], whole.count == 4, shapes["values"] == whole, let mask = inputs["mask"],
            let new = shapes["embeddings"]?.first
        else { throw PocketCrafterError.bundle("`\(contract.name)` is no language model: it has no caches.") }
        let (all, length, channels) = (whole[0] * whole[1], whole[2], whole[3])
        let seen = mask.prefix(length).filter { $0 > Float(Constants.masked) / 2 }.count
        let stride = (seen + new) * channels
        layers = whole[0]
        heads = whole[1]
        width = channels
        read = seen
        count = new
        memory = Self.names.mapValues { _ in UnsafeMutablePointer<Float>.allocate(capacity: all * stride) }
        for (name, place) in memory {
            place.initialize(repeating: 0, count: all * stride)
            inputs[name]?.withUnsafeBufferPointer { values in
                guard let base = values.baseAddress else { return }
                for head in 0..<all {
                    (place + head * stride).update(from: base + head * length * channels, count: seen * channels)
                }
            }
        }
    }

    deinit { memory.values.forEach { $0.deallocate() } }

    /// Makes each layer's tensors, which lie in here; the caller releases them.
    func tensors(_ runtime: OnnxRuntime) throws -> [(input: String, output: String, value: OpaquePointer)] {
        var made: [(input: String, output: String, value: OpaquePointer)] = []
        do {
            for (name, output) in Self.names {
                guard let place = memory[name] else { continue }
                for layer in 0..<layers {
                    let value = try runtime.tensor(at: place + layer * size, shape: [1, heads, rows, width])
                    made.append((Self.part(name, layer), Self.part(output, layer), value))
                }
            }
        } catch {
            made.forEach { runtime.release(value: $0.value) }
            throw error
        }
        return made
    }

    /// What the positions that were run added, by the contract's names of outputs.
    func added() -> [String: [Float]] {
        var found: [String: [Float]] = [:]
        for (name, output) in Self.names {
            guard let place = memory[name] else { continue }
            var new: [Float] = []
            new.reserveCapacity(layers * heads * count * width)
            for head in 0..<layers * heads {
                new += UnsafeBufferPointer(start: place + (head * rows + read) * width, count: count * width)
            }
            found[output] = new
        }
        return found
    }
}
