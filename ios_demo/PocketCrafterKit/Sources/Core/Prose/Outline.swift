/// What a sentence of a critique is about.
enum Topic: String, Sendable {
    case texture, light, colors, faults, fine, unseen, sound, composition, aesthetics, summary, edit
}

/// One sentence that is to be written.
struct Sentence: Equatable, Sendable {
    let topic: Topic
    /// The hidden words that stand in front of it.
    let words: [String]
    /// What it tells of.
    var attributes: [Attribute] = []
}

/// What a critique says where: the sentences of its five thoughts, and one for each instruction.
///
/// The decoder is told, and the grammar enforces, what is to be said; the decoder says it. That is how words and numbers
/// agree.
struct Outline: Equatable, Sendable {
    private static let quality: [Attribute] = [.deblur, .denoise, .dejpeg]
    private static let colorAndLight = Attribute.allCases.filter { !quality.contains($0) }

    let thoughts: [[Sentence]]
    let items: [Sentence]

    /// The outline of one critique.
    init(_ stated: Stated, _ mode: Mode) {
        let voice = stated.voice
        let order = voice % 2 != 0 ? Self.colorAndLight + Self.quality : Self.quality + Self.colorAndLight
        let changed = order.filter(stated.changes)
        let own = [mode == .full ? Prompt.voiceWord(voice) : Prompt.modeWord(mode)]
        let light = [
            Sentence(topic: .light, words: own), Sentence(topic: .colors, words: [Prompt.modeWord(mode)]),
        ]
        let summary = [Prompt.scoreWord(stated.score)] + changed.map(stated.word)
        thoughts = [
            Self.assessed(stated, Self.quality, [Sentence(topic: .texture, words: own)], mode, voice),
            Self.assessed(stated, Self.colorAndLight, light, mode, voice),
            [Sentence(topic: .composition, words: own)],
            [Sentence(topic: .aesthetics, words: own)],
            [Sentence(topic: .summary, words: summary, attributes: changed)],
        ]
        items = changed.isEmpty
            ? [Sentence(topic: .edit, words: [])]
            : changed.map { Sentence(topic: .edit, words: [stated.word($0)], attributes: [$0]) }
    }

    private static func assessed(
        _ stated: Stated, _ group: [Attribute], _ facts: [Sentence], _ mode: Mode, _ voice: Int
    ) -> [Sentence] {
        func sentence(_ topic: Topic, _ attributes: [Attribute], after words: [String] = []) -> Sentence {
            Sentence(topic: topic, words: words + attributes.map(stated.word), attributes: attributes)
        }
        let fine = group.filter { stated[$0]?.amount == 0 }
        let unseen = group.filter { stated[$0] == nil }
        let changed = group.filter(stated.changes)
        let size = voice % 4 != 0 ? 2 : 1
        let faults = stride(from: 0, to: changed.count, by: size).map {
            sentence(.faults, Array(changed[$0..<min($0 + size, changed.count)]))
        }
        if mode == .short {
            let first = Array((fine.isEmpty ? unseen : fine).prefix(1))
            return faults.isEmpty ? [sentence(.sound, first, after: [Prompt.modeWord(mode)])] : faults
        }
        let rest = [(Topic.fine, fine), (Topic.unseen, unseen)].filter { !$0.1.isEmpty }.map { sentence($0.0, $0.1) }
        return (voice % 3 == 0 ? faults + facts : facts + faults) + rest
    }
}
