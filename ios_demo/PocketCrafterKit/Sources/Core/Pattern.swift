import Foundation

/// A regular expression whose lines end with a line feed alone, as Python's do.
struct Pattern: @unchecked Sendable {
    // Immutable, and documented as safe to use from several threads.
    private let expression: NSRegularExpression

    /// - Throws: ``PocketCrafterError/config(_:)`` if it is none.
    init(_ pattern: String, _ options: NSRegularExpression.Options = []) throws {
        do {
            expression = try NSRegularExpression(pattern: pattern, options: options.union(.useUnixLineSeparators))
        } catch {
            throw PocketCrafterError.config("`\(pattern)` is no regular expression.")
        }
    }

    /// Whether it matches somewhere in a text.
    func isIn(_ text: String) -> Bool { expression.firstMatch(in: text, range: Self.whole(text)) != nil }

    /// The groups of the first match, the whole match first; a group without a part in it is empty.
    func groups(in text: String) -> [String]? {
        expression.firstMatch(in: text, range: Self.whole(text)).map { Self.groups(of: $0, in: text) }
    }

    /// The groups of every match, and what stands before each and after the last.
    func split(_ text: String) -> (between: [String], matches: [[String]]) {
        let source = text as NSString
        var between: [String] = []
        var matches: [[String]] = []
        var start = 0
        for match in expression.matches(in: text, range: Self.whole(text)) {
            between.append(source.substring(with: NSRange(location: start, length: match.range.location - start)))
            matches.append(Self.groups(of: match, in: text))
            start = match.range.location + match.range.length
        }
        between.append(source.substring(from: start))
        return (between, matches)
    }

    /// The pattern of a text itself.
    static func literal(_ text: String) -> String { NSRegularExpression.escapedPattern(for: text) }

    private static func whole(_ text: String) -> NSRange { NSRange(location: 0, length: text.utf16.count) }

    private static func groups(of match: NSTextCheckingResult, in text: String) -> [String] {
        (0..<match.numberOfRanges).map { n in
            let range = match.range(at: n)
            return range.location == NSNotFound ? "" : (text as NSString).substring(with: range)
        }
    }
}
