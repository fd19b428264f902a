import Foundation

/// A text is not JSON, or not of the strict kind that bundles hold.
struct JsonError: Error, Equatable {
    let message: String
    /// Where, in bytes of UTF-8.
    let offset: Int
}

/// One JSON value.
enum Json: Equatable, Sendable {
    case null
    case bool(Bool)
    /// A number without fraction and exponent that fits.
    case integer(Int64)
    /// Any other number; finite.
    case number(Double)
    case string(String)
    case array([Json])
    case object(JsonObject)

    /// Parses one value of JSON (RFC 8259) strictly: no key twice in one object, no NaN, nothing after the value,
    /// bounded depth.
    ///
    /// - Throws: ``JsonError`` if it is none, or not UTF-8.
    static func parse(_ content: Data) throws -> Json {
        guard String(data: content, encoding: .utf8) != nil else { throw JsonError(message: "not UTF-8", offset: 0) }
        var parser = JsonParser(bytes: [UInt8](content))
        return try parser.document()
    }

    /// A member of an object; `nil` where this is none, or has no such key.
    subscript(key: String) -> Json? {
        if case .object(let object) = self { object[key] } else { nil }
    }

    var object: JsonObject? { if case .object(let value) = self { value } else { nil } }

    var array: [Json]? { if case .array(let value) = self { value } else { nil } }

    var string: String? { if case .string(let value) = self { value } else { nil } }

    var integer: Int? { if case .integer(let value) = self { Int(exactly: value) } else { nil } }

    var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
}

/// The members of a JSON object, in their own order.
struct JsonObject: Equatable, Sendable {
    private(set) var keys: [String] = []
    private var values: [String: Json] = [:]

    subscript(key: String) -> Json? { values[key] }

    var members: [(key: String, value: Json)] { keys.compactMap { key in values[key].map { (key, $0) } } }

    /// Adds a member; returns whether its key is new.
    mutating func add(_ key: String, _ value: Json) -> Bool {
        if values.updateValue(value, forKey: key) != nil { return false }
        keys.append(key)
        return true
    }
}

private struct JsonParser {
    private static let maxDepth = 64
    private static let maxDigits = 400

    private let bytes: [UInt8]
    private var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func document() throws -> Json {
        let value = try value(depth: 0)
        blanks()
        if at < bytes.count { throw failure("something after the value") }
        return value
    }

    private mutating func value(depth: Int) throws -> Json {
        if depth > Self.maxDepth { throw failure("nested more than \(Self.maxDepth) deep") }
        blanks()
        switch try peek() {
        case UInt8(ascii: "{"): return .object(try members(depth))
        case UInt8(ascii: "["): return .array(try elements(depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func members(_ depth: Int) throws -> JsonObject {
        var found = JsonObject()
        at += 1
        blanks()
        if take("}") { return found }
        repeat {
            blanks()
            if try peek() != UInt8(ascii: "\"") { throw failure("a key is missing") }
            let key = try string()
            blanks()
            if !take(":") { throw failure("`:` is missing") }
            let value = try value(depth: depth + 1)
            if !found.add(key, value) { throw failure("the key `\(key)` is there twice") }
            blanks()
        } while take(",")
        if !take("}") { throw failure("`}` is missing") }
        return found
    }

    private mutating func elements(_ depth: Int) throws -> [Json] {
        var found: [Json] = []
        at += 1
        blanks()
        if take("]") { return found }
        repeat {
            found.append(try value(depth: depth + 1))
            blanks()
        } while take(",")
        if !take("]") { throw failure("`]` is missing") }
        return found
    }

    private mutating func string() throws -> String {
        var out: [UInt8] = []
        at += 1
        while true {
            let byte = try peek()
            at += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: out, as: UTF8.self)
            case UInt8(ascii: "\\"): out += Array(String(Character(try escaped())).utf8)
            case ..<0x20: throw failure("a control character in a string")
            default: out.append(byte)
            }
        }
    }

    private mutating func escaped() throws -> Unicode.Scalar {
        let byte = try peek()
        at += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unit()
        default: throw failure("a bad escape")
        }
    }

    /// The scalar of one `\u` escape, or of two that are a surrogate pair.
    private mutating func unit() throws -> Unicode.Scalar {
        let high = try hex()
        if let scalar = Unicode.Scalar(high) { return scalar }
        guard high < 0xDC00, take("\\"), take("u") else { throw failure("half a surrogate pair") }
        let low = try hex()
        guard (0xDC00...0xDFFF).contains(low),
            let scalar = Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        else { throw failure("half a surrogate pair") }
        return scalar
    }

    private mutating func hex() throws -> UInt32 {
        let digits = bytes[at..<min(at + 4, bytes.count)]
        guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
            let value = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw failure("a bad \\u escape") }
        at += 4
        return value
    }

    private mutating func number() throws -> Json {
        let start = at
        var isInteger = true
        _ = take("-")
        if take("0") {
        } else if try digits() == 0 {
            throw failure("no value")
        }
        if take(".") {
            isInteger = false
            if try digits() == 0 { throw failure("no digits after the point") }
        }
        if take("e") || take("E") {
            isInteger = false
            if !take("+") { _ = take("-") }
            if try digits() == 0 { throw failure("no exponent") }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isInteger, let value = Int64(text) { return .integer(value) }
        guard let value = Double(text), value.isFinite else { throw failure("a number that is too large") }
        return .number(value)
    }

    private mutating func digits() throws -> Int {
        let start = at
        while at < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[at]) { at += 1 }
        if at - start > Self.maxDigits { throw failure("a number of too many digits") }
        return at - start
    }

    private mutating func word(_ word: String, _ value: Json) throws -> Json {
        guard bytes[at...].starts(with: word.utf8) else { throw failure("no value") }
        at += word.utf8.count
        return value
    }

    private mutating func blanks() {
        while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x09 || bytes[at] == 0x0A || bytes[at] == 0x0D {
            at += 1
        }
    }

    private func peek() throws -> UInt8 {
        guard at < bytes.count else { throw failure("the text ends early") }
        return bytes[at]
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    private func failure(_ what: String) -> JsonError { JsonError(message: what, offset: at) }
}
