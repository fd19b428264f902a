/// Where a critique stands.
struct Position: Equatable, Sendable {
    /// The slot that is being written; their number when only the answer is left.
    var slot = 0
    /// How many of its given words are written.
    var given = 0
    /// How many of its free words are.
    var words = 0
    /// Exposures told in stops among them.
    var stops = 0
    /// Whether the last word ended a sentence.
    var stopped = false
    /// What an instruction says so far.
    var text = ""
    /// Positions that are taken, prompt included.
    var used = Constants.tokens + Prompt.length
}

/// The grammar of one critique: which words may come next, so that malformed text cannot be written.
///
/// A critique is a row of slots: given words (marks, and the hidden words of the outline), then a sentence: of free words,
/// of bounded length, that ends with a full stop; or, in the edit block, one of the instructions that are read back, to
/// the letter. Nothing still owed is ever crowded out of the decoder's positions.
struct Grammar {
    private static let stop = "."
    private static let mostWords = 48
    private static let leastWords = 2
    private static let think = 0
    private static let parts = 1...5
    private static let endThink = 6
    private static let edit = 7
    private static let item = 8
    private static let endEdit = 9
    private static let answer = 10
    private static let end = 11

    private struct Slot {
        let given: [Int]
        var stops = false
        var sentences: [String] = []
    }

    private let vocabulary: Vocabulary
    private let spelling: Spelling
    private let slots: [Slot]
    private let stop: Int
    private let stopsWord: Int
    private let ends: Set<Int>
    private let withStops: [Int]
    private let endEdit: Int
    /// Words that are still owed after each slot: the answer's mark, and the shortest form of every later slot.
    private let owed: [Int]
    private let ending: [Int]

    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the vocabulary lacks a word.
    init(_ vocabulary: Vocabulary, _ told: Outline, score: Double) throws {
        self.vocabulary = vocabulary
        spelling = try Spelling(vocabulary)
        slots = try Self.slots(vocabulary, told)
        stop = try vocabulary.id(Self.stop)
        stopsWord = try vocabulary.id(Vocabulary.stopsWord)
        ends = Set(vocabulary.plain.filter { vocabulary.texts[$0].hasSuffix(Self.stop) })
        withStops = (vocabulary.plain + [stopsWord]).sorted()
        endEdit = try vocabulary.id(Wording.marks[Self.endEdit])
        let digits = "\(Int(score.clamped(to: 0...100).rounded(.toNearestOrEven)))".map { String($0) }
        ending = try ([Wording.marks[Self.answer]] + digits + [Wording.marks[Self.end]]).map(vocabulary.id)
        var owed: [Int] = []
        var later = 1
        for slot in slots.reversed() {
            owed.append(later)
            later += slot.given.count + (slot.sentences.map(spelling.fewest).min() ?? Self.leastWords + 1)
        }
        self.owed = owed.reversed()
    }

    /// The ids that may follow, ascending; one id means that there is no choice.
    func allowed(_ position: Position) -> [Int] {
        let slot = slots[position.slot]
        if position.given < slot.given.count { return [slot.given[position.given]] }
        let room = Constants.proseLength - position.used - owed[position.slot]
        if !slot.sentences.isEmpty {
            return slot.sentences.contains(position.text)
                ? [firstAfter(position.slot)] : spelling.goingOn(position.text, slot.sentences, atMost: room)
        }
        if position.stopped, position.words >= Self.leastWords { return [firstAfter(position.slot)] }
        if min(Self.mostWords - position.words, room) <= 1 { return [stop] }
        return slot.stops && position.stops == 0 ? withStops : vocabulary.plain
    }

    /// The position after a word that ``allowed(_:)`` names.
    func advance(_ position: Position, _ word: Int) -> Position {
        var next = position
        next.used += 1
        if position.given < slots[position.slot].given.count {
            next.given += 1
        } else if position.words > 0, word == firstAfter(position.slot) {
            next = Position(slot: position.slot + 1, given: 1, used: next.used)
        } else {
            next.words += 1
            next.stops += word == stopsWord ? 1 : 0
            next.stopped = ends.contains(word)
            if !slots[position.slot].sentences.isEmpty { next.text += vocabulary.texts[word] }
        }
        return next
    }

    /// The rest of the critique once there is no choice left in it, `nil` while there is.
    func ending(_ position: Position) -> [Int]? { position.slot == slots.count ? ending : nil }

    private func firstAfter(_ slot: Int) -> Int { slot + 1 < slots.count ? slots[slot + 1].given[0] : endEdit }

    private static func slots(_ vocabulary: Vocabulary, _ told: Outline) throws -> [Slot] {
        var slots: [Slot] = []
        var marks = [Wording.marks[think]]
        for (part, sentences) in zip(parts, told.thoughts) {
            marks.append(Wording.marks[part])
            for sentence in sentences {
                let stops = sentence.topic == .faults && sentence.attributes.contains(.exposure)
                slots.append(Slot(given: try (marks + sentence.words).map(vocabulary.id), stops: stops))
                marks = []
            }
        }
        marks = [Wording.marks[endThink], Wording.marks[edit]]
        for one in told.items {
            let given = try (marks + [Wording.marks[item]] + one.words).map(vocabulary.id)
            slots.append(Slot(given: given, sentences: Spelling.sentences(of: one)))
            marks = []
        }
        return slots
    }
}
