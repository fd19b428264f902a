import Foundation

/// What one vocabulary can spell, a word at a time, of sentences that are given to the letter.
final class Spelling {
    private static let byWord: [String: [String]] = {
        var byWord: [String: [String]] = [:]
        for attribute in Attribute.allCases {
            for step in Wording.ladder(attribute) where step.amount != 0 {
                let said = Wording.instructions.first {
                    $0.attribute == attribute && $0.direction == (step.amount > 0 ? 1 : -1)
                }
                byWord[step.word] = said?.phrases.map { $0.replacingOccurrences(of: "{amount}", with: Vocabulary.amount) }
            }
        }
        return byWord
    }()

    private let ids: [String: Int]
    private let longest: Int
    private var known = ["": 0]

    init(_ vocabulary: Vocabulary) throws {
        let usable = vocabulary.plain + [try vocabulary.id(Vocabulary.amount)]
        ids = Dictionary(usable.map { (vocabulary.texts[$0], $0) }, uniquingKeysWith: { _, last in last })
        longest = ids.keys.map(\.count).max() ?? 0
    }

    /// All that an item of the edit block may say, with the word for the amount in its place.
    static func sentences(of item: Sentence) -> [String] {
        item.words.first.map { byWord[$0] ?? [] } ?? Wording.noChange
    }

    /// The ids of words that go on with a sentence and leave it an end within `most` words, ascending.
    func goingOn(_ said: String, _ sentences: [String], atMost most: Int) -> [Int] {
        let fitting = sentences.filter { $0.hasPrefix(said) }.flatMap { sentence in
            starts(String(sentence.dropFirst(said.count))).filter { fewest($0.rest) < most }.map(\.id)
        }
        return Set(fitting).sorted()
    }

    /// How few words spell a text; more than a critique has where none do.
    func fewest(_ rest: String) -> Int {
        if let count = known[rest] { return count }
        let count = 1 + (starts(rest).map { fewest($0.rest) }.min() ?? Constants.proseLength)
        known[rest] = count
        return count
    }

    private func starts(_ rest: String) -> [(id: Int, rest: String)] {
        guard !rest.isEmpty else { return [] }
        return (1...min(rest.count, max(longest, 1))).compactMap { end in
            ids[String(rest.prefix(end))].map { ($0, String(rest.dropFirst(end))) }
        }
    }
}
