/// What the critic said of a photo.
struct Answer {
    /// Words of the answer, the one that ended it too.
    let ids: [Int]
    /// Hidden states of all that was read, shape `(positions, width)`: of the prompt and of each word of the answer but the
    /// last, which nothing has read.
    let hidden: [Float]
}

/// A photo and a fixed prompt go in, an answer and the hidden states of all that was read come out.
struct LatentCritic {
    let vision: any Runner
    let step: any Runner
    let prefill: any Runner
    let language: Component
    let table: WordTable
    let settings: CriticSettings

    /// - Throws: ``PocketCrafterError/bundle(_:)`` if prompt or stops have words that the table has not.
    init(
        vision: any Runner, step: any Runner, prefill: any Runner, language: Component, table: WordTable,
        settings: CriticSettings
    ) throws {
        if let highest = (settings.prompt + settings.stops).max(), highest >= table.words {
            throw PocketCrafterError.bundle(
                "The prompt has the word \(highest), and the table of word vectors has \(table.words).")
        }
        self.vision = vision
        self.step = step
        self.prefill = prefill
        self.language = language
        self.table = table
        self.settings = settings
    }

    /// Reads a picture and the prompt; nothing is written yet.
    ///
    /// - Parameters:
    ///   - picture: as ``LatentPicture/critics(_:_:)`` makes it.
    ///   - check: called before every run of the language model; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails.
    func begin(_ picture: [Float], check: () throws -> Void = {}) throws -> Conversation {
        let text = try TextReader(step: step, chunk: prefill, language, Rotary(settings: settings.rotary))
        guard let tokens = try vision.run(["pixels": picture])["tokens"] else {
            throw PocketCrafterError.runner("`vision` gave no `tokens`.")
        }
        let read = try text.read(try embedded(tokens), at: settings.positions, check: check)
        return Conversation(text, read, settings) { try words([$0]) }
    }

    /// The vectors of the whole prompt, shape `(positions, width)`: the picture's tokens in their places.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the prompt has another number of places.
    private func embedded(_ tokens: [Float]) throws -> [Float] {
        let wide = try width()
        let places = settings.prompt.indices.filter { settings.prompt[$0] == settings.pictureToken }
        guard tokens.count == places.count * wide else {
            throw PocketCrafterError.bundle(
                "The prompt has places for \(places.count) tokens of a picture; the vision encoder gives \(tokens.count / wide).")
        }
        var vectors = try words(settings.prompt)
        for (n, place) in places.enumerated() {
            for channel in 0..<wide { vectors[place * wide + channel] = tokens[n * wide + channel] }
        }
        return vectors
    }

    /// What the language model reads of words: their vectors, and nothing where it reads more of pictures.
    private func words(_ ids: [Int]) throws -> [Float] {
        let (rows, wide) = (try table.rows(ids), try width())
        if table.width == wide { return rows }
        return ids.indices.flatMap { rows[$0 * table.width..<($0 + 1) * table.width] + zeros(wide - table.width) }
    }

    private func width() throws -> Int {
        guard let wide = language.inputs.first(where: { $0.name == "embeddings" })?.shape.last, wide >= table.width else {
            throw PocketCrafterError.bundle("The language model does not read vectors of \(table.width) numbers.")
        }
        return wide
    }
}

/// A prompt that was read, and the answer as far as it is written; it goes on where it was left.
final class Conversation {
    private let text: TextReader
    private let settings: CriticSettings
    private let words: (Int) throws -> [Float]
    private var last: Read
    private var hidden: [[Float]]
    private var ids: [Int] = []

    /// - Parameters:
    ///   - text: the language model's caches.
    ///   - read: what reading the prompt gave.
    ///   - settings: what ends an answer.
    ///   - words: from a word to what the language model reads of it.
    init(_ text: TextReader, _ read: Read, _ settings: CriticSettings, words: @escaping (Int) throws -> [Float]) {
        self.text = text
        self.settings = settings
        self.words = words
        last = read
        hidden = [read.hidden]
    }

    /// Whether the answer is whole: it came to a stop, or is as long as answers may be.
    var ended: Bool {
        guard let word = ids.last else { return false }
        return settings.stops.contains(word) || ids.count == settings.longestAnswer
    }

    /// Returns the hidden states of the prompt and of the answer's first words, writing them where they are not yet.
    ///
    /// - Parameters:
    ///   - words: how many words are read; there are fewer where the answer ends. `nil` reads all.
    ///   - progress: told how many words of at most how many are written; what it throws ends the work between two words.
    /// - Returns: shape `(positions, width)`.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails, or gives numbers that are not finite.
    func states(_ words: Int?, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }) throws -> [Float] {
        while !ended, words.map({ hidden.count <= $0 }) ?? true {
            let word = try write()
            try progress(ids.count, settings.longestAnswer)
            if !ended {
                last = try text.read(try self.words(word), at: [[text.count + settings.ahead]]) {}
                hidden.append(last.hidden)
            }
        }
        return Array(hidden.prefix(words.map { $0 + 1 } ?? hidden.count).joined())
    }

    /// Writes the rest of the answer; as ``states(_:progress:)``.
    func finish(progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }) throws -> Answer {
        let all = try states(nil, progress: progress)
        return Answer(ids: ids, hidden: all)
    }

    private func write() throws -> Int {
        guard let first = last.logits.indices.first, last.logits.allSatisfy(\.isFinite) else {
            throw PocketCrafterError.runner("The language model gave logits that are not finite.")
        }
        // The first of the highest, as Python's argmax has it.
        let word = last.logits.indices.reduce(first) { last.logits[$1] > last.logits[$0] ? $1 : $0 }
        ids.append(word)
        return word
    }
}

extension CriticSettings {
    /// Where the words of the prompt are: shape `(1, N)`, or `(3, N)` where the picture's tokens lie in rows.
    var positions: [[Int]] {
        guard let rows else { return [Array(prompt.indices)] }
        let first = prompt.firstIndex(of: pictureToken) ?? 0
        let count = rows * rows
        let picture = (0..<count).map { (row: $0 / rows, column: $0 % rows) }
        let after = (0..<max(0, prompt.count - first - count)).map { first + rows + $0 }
        return [picture.map { _ in 0 }, picture.map(\.row), picture.map(\.column)]
            .map { Array(0..<first) + $0.map { first + $0 } + after }
    }

    /// How far a word's position is from how many were read: tokens of a picture in rows share some.
    var ahead: Int { rows.map { $0 - $0 * $0 } ?? 0 }
}
