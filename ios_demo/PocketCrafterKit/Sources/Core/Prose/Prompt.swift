import Foundation

/// How much is written; its raw value is its name in the decoder's words.
public enum Mode: String, CaseIterable, Sendable {
    /// At length.
    case full
    /// In short.
    case short
}

/// A plan as prose states it, and the score: what the decoder is told before it writes.
public struct Stated: Sendable {
    private let steps: [Attribute: Step]
    /// Of the photo, 0 to 100.
    public let score: Double

    /// - Parameters:
    ///   - steps: the step of each attribute's ladder; what is absent is not assessed.
    ///   - score: of the photo, 0 to 100.
    init(steps: [Attribute: Step], score: Double) {
        self.steps = steps
        self.score = score
    }

    /// What prose says of a gated plan; an attribute whose gate can never open is not assessed.
    public init(plan: EditPlan, gate: GateSettings, score: Double) {
        let assessed = Attribute.allCases.filter { gate.assesses($0) || plan[$0] != 0 }
        self.init(
            steps: Dictionary(uniqueKeysWithValues: assessed.map { ($0, Self.nearest($0, plan[$0])) }), score: score)
    }

    /// The step of an attribute, `nil` where it is not assessed.
    public subscript(attribute: Attribute) -> Step? { steps[attribute] }

    /// Whether the plan changes an attribute.
    func changes(_ attribute: Attribute) -> Bool { (self[attribute]?.amount ?? 0) != 0 }

    /// The word for an attribute's amount.
    func word(_ attribute: Attribute) -> String { self[attribute]?.word ?? Prompt.unassessedWord(attribute) }

    /// The voice that tells these facts, from 0 to `voices - 1`: always the same for the same ones.
    var voice: Int {
        // As Python spells the tuple: its CRC-32 chooses the voice there.
        let amounts = Attribute.allCases.map { self[$0].map { "\($0.amount)" } ?? "None" }.joined(separator: ", ")
        return Int(crc32("(\(Int(score)), [\(amounts)])".utf8)) % Constants.voices
    }

    /// The nearest step of an attribute's ladder; of two as near, the smaller.
    static func nearest(_ attribute: Attribute, _ amount: Double) -> Step {
        let ladder = Wording.ladder(attribute)
        let above = ladder.firstIndex { $0.amount >= amount } ?? ladder.count
        let last = min(above, ladder.count - 1)
        let (lower, upper) = (ladder[max(0, above - 1)], ladder[last])
        let (below, over) = (abs(lower.amount - amount), abs(upper.amount - amount))
        if below != over { return below < over ? lower : upper }
        return abs(lower.amount) <= abs(upper.amount) ? lower : upper
    }
}

/// The hidden words that tell the decoder what to write.
enum Prompt {
    private static let scoreStep = 5

    /// How many words a prompt has.
    static let length = 3 + Attribute.allCases.count

    /// The words of a prompt, in order; they follow the critic's plan tokens.
    static func words(_ stated: Stated, _ mode: Mode) -> [String] {
        [modeWord(mode), voiceWord(stated.voice), scoreWord(stated.score)] + Attribute.allCases.map(stated.word)
    }

    /// The word that asks for a mode.
    static func modeWord(_ mode: Mode) -> String { "<mode:\(mode.rawValue)>" }

    /// The word that asks for a voice.
    static func voiceWord(_ voice: Int) -> String { "<voice:\(voice)>" }

    /// The word for a score of 0 to 100, in steps of five.
    static func scoreWord(_ score: Double) -> String {
        let steps = (score.clamped(to: 0...100) / Double(scoreStep)).rounded(.toNearestOrEven)
        return "<score:\(scoreStep * Int(steps))>"
    }

    /// The word for an attribute that was not assessed.
    static func unassessedWord(_ attribute: Attribute) -> String { "<\(attribute.key):?>" }

    /// Every word that a prompt can hold, in the order of the vocabulary.
    static let allWords: [String] = {
        var words = Mode.allCases.map(modeWord) + (0..<Constants.voices).map(voiceWord)
        words += stride(from: 0, through: 100, by: scoreStep).map { scoreWord(Double($0)) }
        for attribute in Attribute.allCases { words += [unassessedWord(attribute)] + Wording.ladder(attribute).map(\.word) }
        return words
    }()
}

/// The CRC-32 of zlib and PNG (ISO 3309).
func crc32(_ bytes: some Sequence<UInt8>) -> UInt32 {
    ~bytes.reduce(UInt32.max) { sum, byte in
        (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum & 1 == 0 ? sum >> 1 : (sum >> 1) ^ 0xEDB8_8320 }
    }
}
