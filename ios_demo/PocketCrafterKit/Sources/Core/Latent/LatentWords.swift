import Foundation

/// Turns a latent critic's ids into text; opened from a `tokenizer.json` of byte-level words.
struct LatentWords: Sendable {
    /// The most bytes that the file has.
    static let maxBytes = 1 << 26

    private let words: [Int: String]

    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it is no tokenizer, or one of other words.
    init(_ content: Data) throws {
        let raw: Json
        do {
            raw = try Json.parse(content)
        } catch let error as JsonError {
            throw Self.refusal("\(error.message) at byte \(error.offset)")
        }
        guard raw["decoder"]?["type"]?.string == "ByteLevel", let words = raw["model"]?["vocab"]?.object else {
            throw Self.refusal("its words are not of byte-level BPE, the only ones that are read here")
        }
        var texts: [Int: String] = [:]
        for (word, id) in words.members { if let id = id.integer { texts[id] = word } }
        for token in raw["added_tokens"]?.array ?? [] {
            if let id = token["id"]?.integer, let word = token["content"]?.string { texts[id] = word }
        }
        self.words = texts
    }

    /// The text of ids, special words too; ids without a word have none.
    func text(_ ids: [Int]) -> String {
        let bytes = ids.compactMap { words[$0] }.flatMap { ByteSymbols.bytes(of: $0) ?? Array($0.utf8) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func refusal(_ why: String) -> PocketCrafterError { .bundle("Not a tokenizer of this critic: \(why).") }
}
