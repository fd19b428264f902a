/// What a decoder reads at one position.
public enum DecoderInput: Sendable {
    /// A plan token of the critic, of `tokenDim` values.
    case token([Float])
    /// A word's id.
    case word(Int)

    /// The one-hot word, shape `(proseWords)`; zeros for a plan token.
    public var word: [Float] {
        if case .word(let id) = self { oneHot(id, Constants.proseWords) } else { zeros(Constants.proseWords) }
    }

    /// The plan token, shape `(tokenDim)`; zeros for a word.
    public var soft: [Float] {
        if case .token(let values) = self { values } else { zeros(Constants.tokenDim) }
    }
}

/// A decoder that remembers what it has read, up to `proseLength` positions.
public protocol Decoder: AnyObject {
    /// Forgets everything.
    func begin() throws

    /// Reads positions, one after the other.
    ///
    /// - Parameters:
    ///   - inputs: at least one.
    ///   - check: called before every run of the network; what it throws ends the work.
    /// - Returns: log-odds of the word after the last position, shape `(proseWords)`.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if the network fails, ``PocketCrafterError/prose(_:)`` if there is no
    ///   room for the positions.
    func read(_ inputs: [DecoderInput], check: () throws -> Void) throws -> [Float]
}

/// A decoder whose caches go into the network and come back: for engines without a state of their own.
public final class CachingDecoder: Decoder {
    private static let cache = Constants.proseHeads * Constants.proseLength * Constants.proseChannels
    private static let rows = Constants.proseLayers * Constants.proseHeads * Constants.proseChannels

    private let network: any Runner
    private var keys: [[Float]] = []
    private var values: [[Float]] = []
    private var taken = 0

    /// - Parameter network: the decoder as the component's contract has it.
    public init(_ network: any Runner) { self.network = network }

    public func begin() {
        keys = [[Float]](repeating: zeros(Self.cache), count: Constants.proseLayers)
        values = keys
        taken = 0
    }

    public func read(_ inputs: [DecoderInput], check: () throws -> Void) throws -> [Float] {
        var logits: [Float] = []
        for input in inputs {
            try check()
            let said = try answer(input)
            keep(try said.output("key", count: Self.rows, of: "decoder"), in: &keys)
            keep(try said.output("value", count: Self.rows, of: "decoder"), in: &values)
            taken += 1
            logits = try said.output("logits", count: Constants.proseWords, of: "decoder")
        }
        return logits
    }

    // The inputs are gone when the caches change: nothing is copied for them.
    private func answer(_ input: DecoderInput) throws -> [String: [Float]] {
        guard taken < Constants.proseLength else {
            throw PocketCrafterError.prose("A critique has \(Constants.proseLength) positions at most.")
        }
        var inputs = ["word": input.word, "soft": input.soft, "position": oneHot(taken, Constants.proseLength)]
        for layer in 0..<Constants.proseLayers {
            inputs["keys_\(layer)"] = keys[layer]
            inputs["values_\(layer)"] = values[layer]
        }
        return try network.run(inputs)
    }

    private func keep(_ rows: [Float], in caches: inout [[Float]]) {
        let channels = Constants.proseChannels
        for layer in 0..<Constants.proseLayers {
            for head in 0..<Constants.proseHeads {
                let from = (layer * Constants.proseHeads + head) * channels
                let to = (head * Constants.proseLength + taken) * channels
                for channel in 0..<channels { caches[layer][to + channel] = rows[from + channel] }
            }
        }
    }
}

/// Values that are all zero.
package func zeros(_ count: Int) -> [Float] { [Float](repeating: 0, count: count) }

/// Values that are zero but for one, which is 1.
package func oneHot(_ index: Int, _ count: Int) -> [Float] {
    var values = zeros(count)
    values[index] = 1
    return values
}
