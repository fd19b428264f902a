import Foundation

/// One edit.
public struct Instruction: Equatable, Sendable {
    public let attribute: Attribute
    /// The sign of the change: 1 or -1.
    public let direction: Int
    /// Its magnitude in the attribute's own unit; `nil` where it is not said.
    public let amount: Double?
}

/// A critique in words, and what they mean.
public struct Prose: Equatable, Sendable {
    /// The whole text.
    public let text: String
    /// Quality; color and light; composition; aesthetic; summary.
    public let thoughts: [String]
    /// What the thoughts name; they say no amounts.
    public let faults: [Instruction]
    /// The edit block, as far as it was understood.
    public let instructions: [Instruction]
    /// Lines of the edit block that were not.
    public let unread: [String]
    /// 0 to 100.
    public let score: Int

    /// The most characters that are read.
    static let maxCharacters = 20_000

    private static let maxInstructions = 64
    private static let parts = 5

    /// Parses a critique, from any source, trusted or not.
    ///
    /// - Throws: ``PocketCrafterError/prose(_:)`` with the first thing that is missing, out of order or too long.
    public init(_ text: String) throws {
        let length = text.unicodeScalars.count
        guard length <= Self.maxCharacters else {
            throw PocketCrafterError.prose(
                "The critique has \(length) characters; \(Self.maxCharacters) are the most that is read.")
        }
        let patterns = try Patterns.all.get()
        let (think, afterThoughts) = try Self.between(text, "<think>", ["</think>"], "five thoughts")
        let (edit, rest) = try Self.between(afterThoughts, "<edit_start>", ["</edit_end>", "<edit_start>"], "edit block")
        self.text = text
        thoughts = try Self.thoughts(think, patterns)
        let lines = patterns.lineEnds.split(edit).between
            .map { Self.bullet(Self.stripped($0)) }.map(Self.stripped).filter { !$0.isEmpty }
        guard !lines.isEmpty else {
            throw PocketCrafterError.prose(
                "The edit block is empty; it says at least one thing, such as \(Wording.noChange[0])")
        }
        guard lines.count <= Self.maxInstructions else {
            throw PocketCrafterError.prose(
                "The edit block has \(lines.count) lines; \(Self.maxInstructions) are the most that is read.")
        }
        let named = thoughts.joined(separator: "\n")
        faults = patterns.clauses.filter { $0.pattern.isIn(named) }
            .map { Instruction(attribute: $0.of.attribute, direction: $0.of.direction, amount: nil) }
        let read = lines.map { ($0, patterns.instruction($0)) }
        instructions = read.compactMap(\.1)
        unread = read.filter { $0.1 == nil && !Wording.noChange.contains($0.0) }.map(\.0)
        guard let digits = patterns.answer.groups(in: rest)?[1], let score = Int(digits), score <= 100 else {
            throw PocketCrafterError.prose(
                "The critique has no answer: <answer> and a score from 0 to 100 are missing after the edits.")
        }
        self.score = score
    }

    /// What stands between an opener and the first closer after it, and the rest.
    private static func between(
        _ text: String, _ opener: String, _ closers: [String], _ what: String
    ) throws -> (String, String) {
        guard let opened = text.range(of: opener, options: .literal) else {
            throw PocketCrafterError.prose("The critique has no \(what): \(opener) is missing.")
        }
        let rest = opened.upperBound..<text.endIndex
        let found = closers.compactMap { text.range(of: $0, options: .literal, range: rest) }
        guard let closed = found.min(by: { $0.lowerBound < $1.lowerBound }) else {
            throw PocketCrafterError.prose(
                "The critique's \(what) is not closed: \(closers.joined(separator: " or ")) is missing.")
        }
        return (String(text[opened.upperBound..<closed.lowerBound]), String(text[closed.upperBound...]))
    }

    private static func thoughts(_ text: String, _ patterns: Patterns) throws -> [String] {
        let (between, matches) = patterns.numbered.split(text)
        let thoughts = between.dropFirst().map { piece in
            piece.unicodeScalars.split(whereSeparator: isBlank).map(String.init).joined(separator: " ")
        }
        let numbers = matches.map { $0[1] }
        guard numbers == (1...parts).map({ "\($0)" }), !thoughts.contains("") else {
            let found = numbers.isEmpty ? "none" : numbers.joined(separator: ", ")
            throw PocketCrafterError.prose(
                "The critique needs thoughts numbered 1 to \(parts), none of them empty; it has \(found).")
        }
        return thoughts
    }

    /// A line without what is blank at its ends.
    private static func stripped(_ line: String) -> String {
        let scalars = line.unicodeScalars
        let start = scalars.firstIndex { !isBlank($0) } ?? scalars.endIndex
        let end = scalars.lastIndex { !isBlank($0) }.map { scalars.index(after: $0) } ?? start
        return String(scalars[start..<end])
    }

    private static func bullet(_ line: String) -> String {
        String(line.unicodeScalars.drop { $0 == "-" || $0 == "*" })
    }

    // Python's `str.isspace` knows four separators that Unicode's property does not.
    private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || ("\u{1C}"..."\u{1F}").contains(scalar)
    }
}

/// What critiques are read with.
private struct Patterns: Sendable {
    static let all = Result { try Patterns() }

    private static let amount = "([0-9]{1,3}(?:\\.[0-9]{1,2})?)"
    private static let blank = "[\\s\\x0B\\x1C-\\x1F\\x85\\p{Z}]"

    let numbered: Pattern
    let lineEnds: Pattern
    let answer: Pattern
    let clauses: [(of: Phrases, pattern: Pattern)]
    let instructions: [(of: Phrases, pattern: Pattern)]

    init() throws {
        numbered = try Pattern("^[ \\t]*([1-9])[.)][ \\t]+", .anchorsMatchLines)
        lineEnds = try Pattern("\\r\\n|[\\n\\r\\x0B\\x0C\\x1C-\\x1E\\x85\\u2028\\u2029]")
        answer = try Pattern(
            "<answer>\(Self.blank)*([0-9]{1,3})(?:\\.[0-9]{1,9})?\(Self.blank)*(?:</answer>|\\n?\\z)")
        let gaps = try Self.gaps()
        clauses = try Wording.clauses.map { clauses in
            let said = clauses.phrases.map { "\\b\(gaps($0))\\b" }.joined(separator: "|")
            return (clauses, try Pattern(said, .caseInsensitive))
        }
        instructions = try Wording.instructions.flatMap { lines in
            try lines.phrases.map { (lines, try Pattern("\\A(?:\(gaps($0)))\\z")) }
        }
    }

    func instruction(_ line: String) -> Instruction? {
        for (lines, pattern) in instructions {
            if let groups = pattern.groups(in: line) {
                return Instruction(attribute: lines.attribute, direction: lines.direction, amount: Double(groups[1]))
            }
        }
        return nil
    }

    /// Returns what makes a regular expression of a template: one for all that it can become.
    private static func gaps() throws -> (String) -> String {
        let words = Wording.fillers.merging(["stops": Array(Wording.stops.values)]) { own, _ in own }
        let choices = words.mapValues { "(?:\($0.map(Pattern.literal).joined(separator: "|")))" }
            .merging(["amount": amount]) { own, _ in own }
        let gap = try Pattern("\\{([a-z]+)\\}")
        return { template in
            let (between, matches) = gap.split(template)
            return zip(between, matches.map { choices[$0[1]] ?? "" } + [""]).map { Pattern.literal($0) + $1 }.joined()
        }
    }
}
