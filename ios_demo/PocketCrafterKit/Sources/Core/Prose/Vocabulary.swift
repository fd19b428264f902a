import Foundation

/// The decoder's vocabulary.
public struct Vocabulary: Sendable {
    /// Stands for the amount of the last plan word, as a number.
    static let amount = "<amount>"
    /// Stands for the last exposure, in stops.
    static let stopsWord = "<stops>"
    /// The most bytes that a vocabulary has.
    static let maxBytes = 1 << 20

    private static let special = Wording.marks + Prompt.allWords + [amount, stopsWord]
    private static let hidden = Set(Prompt.allWords)
    private static let stated = Dictionary(uniqueKeysWithValues: Attribute.allCases.flatMap { attribute in
        Wording.ladder(attribute).map { ($0.word, (attribute: attribute, step: $0)) }
    })
    private static let letters: Set<String> = {
        let instructions = Wording.instructions.flatMap(\.phrases).map { $0.replacingOccurrences(of: "{amount}", with: "") }
        return Set(("0123456789." + (instructions + Wording.noChange).joined()).map { String($0) })
    }()

    /// The text of each id; empty where an id is not used.
    let texts: [String]
    /// The ids that may stand inside a sentence, ascending: printable ASCII, no angle brackets, no digits.
    let plain: [Int]
    private let ids: [String: Int]

    /// Reads a file of the `tokenizers` format: byte-level BPE with the special words added.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is none, or lacks a word that prose needs.
    init(_ content: Data) throws {
        guard content.count <= Self.maxBytes else {
            throw PocketCrafterError.bundle("A vocabulary has \(Self.maxBytes) bytes at most, not \(content.count).")
        }
        let raw: Json
        do {
            raw = try Json.parse(content)
        } catch let error as JsonError {
            throw PocketCrafterError.bundle("The vocabulary is not JSON: \(error.message) at byte \(error.offset).")
        }
        guard let words = raw["model"]?["vocab"]?.object else { throw Self.refusal("it has no words") }
        guard let added = raw["added_tokens"]?.array else { throw Self.refusal("it has no special words") }
        let special = Set(Self.special)
        var texts = [String](repeating: "", count: Constants.proseWords)
        func put(_ id: Json?, _ text: String?) throws {
            guard let place = id?.integer, texts.indices.contains(place), let text, texts[place].isEmpty else {
                throw Self.refusal("`\(text ?? "a word without text")` has no id of its own")
            }
            texts[place] = text
        }
        for (symbols, id) in words.members where !special.contains(symbols) { try put(id, try Self.decoded(symbols)) }
        for token in added { try put(token["id"], token["content"]?.string) }
        var ids: [String: Int] = [:]
        for (id, text) in texts.enumerated() where special.contains(text) || text.unicodeScalars.count == 1 { ids[text] = id }
        if let lacking = (Self.special + Self.letters).first(where: { ids[$0] == nil }) {
            throw Self.refusal("it lacks `\(lacking)`")
        }
        self.texts = texts
        self.ids = ids
        plain = texts.indices.filter { !special.contains(texts[$0]) && Self.isProse(texts[$0]) }
    }

    /// The id of a special word or single character.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there is none.
    func id(_ word: String) throws -> Int {
        guard let id = ids[word] else { throw Self.refusal("it lacks `\(word)`") }
        return id
    }

    /// What people see of ids: hidden words have no text, amounts that of the plan words before them.
    func text(_ ids: [Int]) -> String {
        var text = "", amount = "", stops = ""
        for word in ids.map({ texts[$0] }) {
            if let (attribute, step) = Self.stated[word] {
                amount = step.text
                if attribute == .exposure { stops = Wording.stops[abs(step.amount)] ?? "" }
            }
            switch word {
            case Self.amount: text += amount
            case Self.stopsWord: text += stops
            default: if !Self.hidden.contains(word) { text += word }
            }
        }
        return text
    }

    private static func isProse(_ text: String) -> Bool {
        !text.isEmpty && text.unicodeScalars.allSatisfy {
            (" "..."~").contains($0) && $0 != "<" && $0 != ">" && !("0"..."9").contains($0)
        }
    }

    private static func decoded(_ symbols: String) throws -> String {
        guard let content = ByteSymbols.bytes(of: symbols) else { throw refusal("`\(symbols)` is not spelled in bytes") }
        return String(decoding: content, as: UTF8.self)
    }

    private static func refusal(_ why: String) -> PocketCrafterError {
        .bundle("Not a vocabulary of this decoder: \(why).")
    }
}
