/// A critique in words, and how it was written.
public struct Written: Sendable {
    public let prose: Prose
    /// The words after the prompt.
    public let ids: [Int]
    /// How many of them the decoder chose; the others are the only ones that the grammar allows.
    public let choices: Int
    /// Runs of the decoder, the prompt's included.
    public let steps: Int
}

/// Writes critiques with one decoder: the greedy loop inside the grammar. Keeps nothing between them.
struct Writer {
    private let decoder: any Runner
    private let vocabulary: Vocabulary

    init(_ decoder: any Runner, _ vocabulary: Vocabulary) {
        self.decoder = decoder
        self.vocabulary = vocabulary
    }

    /// Writes the critique of one photo.
    ///
    /// - Parameters:
    ///   - tokens: the critic's plan tokens, shape `(tokens, tokenDim)`.
    ///   - stated: what the critique says.
    ///   - mode: how much is written.
    ///   - check: called before every step; what it throws ends the loop.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if the tokens have another size, ``PocketCrafterError/runner(_:)`` if
    ///   the decoder fails.
    func write(_ tokens: [Float], _ stated: Stated, _ mode: Mode, check: () throws -> Void = {}) throws -> Written {
        guard tokens.count == Constants.tokens * Constants.tokenDim else {
            let wanted = Constants.tokens * Constants.tokenDim
            throw PocketCrafterError.shape("Plan tokens have \(wanted) values, not \(tokens.count).")
        }
        let steps = Steps(decoder)
        var logits: [Float] = []
        for token in 0..<Constants.tokens {
            try check()
            let soft = tokens[token * Constants.tokenDim..<(token + 1) * Constants.tokenDim]
            _ = try steps.run(word: [Float](repeating: 0, count: Constants.proseWords), soft: Array(soft))
        }
        for word in Prompt.words(stated, mode) {
            try check()
            logits = try steps.take(vocabulary.id(word))
        }
        let grammar = try Grammar(vocabulary, Outline(stated, mode), score: stated.score)
        var ids: [Int] = []
        var position = Position()
        var choices = 0
        while true {
            if let ending = grammar.ending(position) {
                ids += ending
                let prose = try Prose(vocabulary.text(ids))
                return Written(prose: prose, ids: ids, choices: choices, steps: steps.taken)
            }
            try check()
            let allowed = grammar.allowed(position)
            guard let first = allowed.first else {
                throw PocketCrafterError.prose("The grammar leaves no word after \(ids.count) of them.")
            }
            // The first of the highest, as Python's argmax has it.
            let word = allowed.reduce(first) { logits[$1] > logits[$0] ? $1 : $0 }
            choices += allowed.count > 1 ? 1 : 0
            ids.append(word)
            position = grammar.advance(position, word)
            if grammar.ending(position) == nil { logits = try steps.take(word) }
        }
    }
}

/// The decoder's caches, and how far they are filled.
private final class Steps {
    private static let cache = Constants.proseHeads * Constants.proseLength * Constants.proseChannels
    private static let rows = Constants.proseLayers * Constants.proseHeads * Constants.proseChannels

    private let decoder: any Runner
    private var keys = [[Float]](repeating: .init(repeating: 0, count: cache), count: Constants.proseLayers)
    private var values = [[Float]](repeating: .init(repeating: 0, count: cache), count: Constants.proseLayers)
    private(set) var taken = 0

    init(_ decoder: any Runner) { self.decoder = decoder }

    func take(_ word: Int) throws -> [Float] {
        try run(word: oneHot(word, Constants.proseWords), soft: [Float](repeating: 0, count: Constants.tokenDim))
    }

    func run(word: [Float], soft: [Float]) throws -> [Float] {
        let said = try answer(word, soft)
        keep(try said.output("key", count: Self.rows, of: "decoder"), in: &keys)
        keep(try said.output("value", count: Self.rows, of: "decoder"), in: &values)
        taken += 1
        return try said.output("logits", count: Constants.proseWords, of: "decoder")
    }

    // The inputs are gone when the caches change: nothing is copied for them.
    private func answer(_ word: [Float], _ soft: [Float]) throws -> [String: [Float]] {
        guard taken < Constants.proseLength else {
            throw PocketCrafterError.prose("A critique has \(Constants.proseLength) positions at most.")
        }
        var inputs = ["word": word, "soft": soft, "position": oneHot(taken, Constants.proseLength)]
        for layer in 0..<Constants.proseLayers {
            inputs["keys_\(layer)"] = keys[layer]
            inputs["values_\(layer)"] = values[layer]
        }
        return try decoder.run(inputs)
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

    private func oneHot(_ index: Int, _ count: Int) -> [Float] {
        var values = [Float](repeating: 0, count: count)
        values[index] = 1
        return values
    }
}
