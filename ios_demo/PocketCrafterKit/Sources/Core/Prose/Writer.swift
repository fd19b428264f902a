/// A critique in words, and how it was written.
public struct Written: Sendable {
    public let prose: Prose
    /// The words after the prompt.
    public let ids: [Int]
    /// How many of them the decoder chose; the others are the only ones that the grammar allows.
    public let choices: Int
    /// Positions that the decoder has read, the prompt's included.
    public let steps: Int
}

/// Writes critiques with one decoder: the greedy loop inside the grammar. Keeps nothing between them.
struct Writer {
    private let decoder: any Decoder
    private let vocabulary: Vocabulary

    init(_ decoder: any Decoder, _ vocabulary: Vocabulary) {
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
        var prompt = (0..<Constants.tokens).map { token in
            DecoderInput.token(Array(tokens[token * Constants.tokenDim..<(token + 1) * Constants.tokenDim]))
        }
        prompt += try Prompt.words(stated, mode).map { .word(try vocabulary.id($0)) }
        try decoder.begin()
        var logits = try decoder.read(prompt, check: check)
        var steps = prompt.count
        let grammar = try Grammar(vocabulary, Outline(stated, mode), score: stated.score)
        var ids: [Int] = []
        var position = Position()
        var choices = 0
        while true {
            if let ending = grammar.ending(position) {
                ids += ending
                let prose = try Prose(vocabulary.text(ids))
                return Written(prose: prose, ids: ids, choices: choices, steps: steps)
            }
            let allowed = grammar.allowed(position)
            guard let first = allowed.first else {
                throw PocketCrafterError.prose("The grammar leaves no word after \(ids.count) of them.")
            }
            // The first of the highest, as Python's argmax has it.
            let word = allowed.reduce(first) { logits[$1] > logits[$0] ? $1 : $0 }
            choices += allowed.count > 1 ? 1 : 0
            ids.append(word)
            position = grammar.advance(position, word)
            if grammar.ending(position) == nil {
                logits = try decoder.read([.word(word)], check: check)
                steps += 1
            }
        }
    }
}
