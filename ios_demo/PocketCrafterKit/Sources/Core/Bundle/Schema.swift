import Foundation

/// Checks values against a JSON Schema, as far as the manifest's uses it (draft 2020-12).
///
/// The schema is the one that Python validates with and checks in; an unknown keyword is an error here, so that a schema
/// which says more than this type understands is never half obeyed.
struct Schema: Sendable {
    private static let keywords: Set<String> = [
        "$defs", "$ref", "$schema", "title", "description", "default", "type", "const", "enum", "allOf", "anyOf", "if",
        "then", "properties", "patternProperties", "additionalProperties", "propertyNames", "required", "items",
        "prefixItems", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "pattern",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    ]

    private let root: Json
    private var patterns: [String: Pattern] = [:]

    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the schema uses what is not understood here.
    init(_ schema: Json) throws {
        root = schema
        try take(schema, "#")
        for (name, definition) in schema["$defs"]?.object?.members ?? [] { try take(definition, name) }
    }

    /// Returns one sentence for each fault of a value, each with its place; nothing where it is legal.
    func faults(_ value: Json) -> [String] {
        var faults: [String] = []
        check(root, value, "", &faults)
        return faults
    }

    private func check(_ schema: Json, _ value: Json, _ place: String, _ faults: inout [String]) {
        if let reference = schema["$ref"]?.string, let part = definition(reference) { check(part, value, place, &faults) }
        for part in schema["allOf"]?.array ?? [] { check(part, value, place, &faults) }
        if let condition = schema["if"], let then = schema["then"] {
            var broken: [String] = []
            check(condition, value, place, &broken)
            if broken.isEmpty { check(then, value, place, &faults) }
        }
        if let options = schema["anyOf"]?.array {
            let tried = options.map { option in
                var found: [String] = []
                check(option, value, place, &found)
                return found
            }
            if !tried.contains([]) { faults += tried.min { $0.count < $1.count } ?? [] }
        }
        if let type = schema["type"]?.string, !Self.isOf(type, value) {
            faults.append("\(Self.named(place)) is not of type \(type)")
            return
        }
        if let constant = schema["const"], !Self.same(constant, value) {
            faults.append("\(Self.named(place)) is not what it must be")
        }
        if let legal = schema["enum"]?.array, !legal.contains(value) {
            faults.append("\(Self.named(place)) is none of \(legal.compactMap(\.string).joined(separator: ", "))")
        }
        switch value {
        case .string(let text): checkText(schema, text, place, &faults)
        case .integer(let number): checkNumber(schema, Double(number), place, &faults)
        case .number(let number): checkNumber(schema, number, place, &faults)
        case .array(let items): checkList(schema, items, place, &faults)
        case .object(let object): checkObject(schema, object, place, &faults)
        case .bool, .null: break
        }
    }

    private func checkText(_ schema: Json, _ value: String, _ place: String, _ faults: inout [String]) {
        let length = value.unicodeScalars.count
        if Self.isOutside(schema, "minLength", "maxLength", length) {
            faults.append("\(Self.named(place)) has \(length) characters")
        }
        if let pattern = schema["pattern"]?.string, !matches(pattern, value) || value.utf8.last == UInt8(ascii: "\n") {
            faults.append("\(Self.named(place)) does not match \(pattern)")
        }
    }

    private func checkNumber(_ schema: Json, _ value: Double, _ place: String, _ faults: inout [String]) {
        let low = schema["minimum"]?.double ?? -.infinity
        let high = schema["maximum"]?.double ?? .infinity
        if value < low || value > high { faults.append("\(Self.named(place)) is \(value), not in [\(low), \(high)]") }
        if let above = schema["exclusiveMinimum"]?.double, value <= above {
            faults.append("\(Self.named(place)) is \(value), which is not above \(above)")
        }
        if let below = schema["exclusiveMaximum"]?.double, value >= below {
            faults.append("\(Self.named(place)) is \(value), which is not below \(below)")
        }
    }

    private func checkList(_ schema: Json, _ value: [Json], _ place: String, _ faults: inout [String]) {
        if Self.isOutside(schema, "minItems", "maxItems", value.count) {
            faults.append("\(Self.named(place)) has \(value.count) items")
        }
        let first = schema["prefixItems"]?.array ?? []
        for (n, item) in value.enumerated() {
            if let part = n < first.count ? first[n] : schema["items"] { check(part, item, "\(place)/\(n)", &faults) }
        }
    }

    private func checkObject(_ schema: Json, _ value: JsonObject, _ place: String, _ faults: inout [String]) {
        if Self.isOutside(schema, "minProperties", "maxProperties", value.keys.count) {
            faults.append("\(Self.named(place)) has \(value.keys.count) keys")
        }
        for key in schema["required"]?.array?.compactMap(\.string) ?? [] where value[key] == nil {
            faults.append("\(Self.named(place)) lacks `\(key)`")
        }
        let byPattern = schema["patternProperties"]?.object?.members ?? []
        let others = schema["additionalProperties"]
        for (key, item) in value.members {
            let here = "\(place)/\(key)"
            if let names = schema["propertyNames"] { check(names, .string(key), here, &faults) }
            let matching = byPattern.filter { matches($0.key, key) }
            let property = schema["properties"]?[key]
            if let property { check(property, item, here, &faults) }
            for part in matching { check(part.value, item, here, &faults) }
            if property != nil || !matching.isEmpty { continue }
            // Python's models validate the keys of such maps; the schema alone would let others pass.
            if others == .bool(false) || !byPattern.isEmpty { faults.append("\(Self.named(here)) is an unknown key") }
            if let others, others.object != nil { check(others, item, here, &faults) }
        }
    }

    private func definition(_ reference: String) -> Json? {
        root["$defs"]?[String(reference.dropFirst("#/$defs/".count))]
    }

    private func matches(_ pattern: String, _ text: String) -> Bool { patterns[pattern]?.isIn(text) ?? false }

    /// Compiles the patterns of a schema and of the schemas in it.
    private mutating func take(_ schema: Json, _ place: String) throws {
        guard let members = schema.object?.members else { return }
        let unknown = members.map(\.key).filter { !Self.keywords.contains($0) }
        guard unknown.isEmpty else {
            throw PocketCrafterError.bundle(
                "The schema's \(place) uses \(unknown.joined(separator: ", ")), which is not understood here.")
        }
        if let reference = schema["$ref"]?.string, definition(reference) == nil {
            throw PocketCrafterError.bundle("The schema's \(place) refers to \(reference), which is not there.")
        }
        var used = schema["patternProperties"]?.object?.keys ?? []
        if let pattern = schema["pattern"]?.string { used.append(pattern) }
        for pattern in used { patterns[pattern] = try Pattern(pattern) }
        for key in ["properties", "patternProperties"] {
            for (_, part) in schema[key]?.object?.members ?? [] { try take(part, place) }
        }
        for key in ["items", "additionalProperties", "propertyNames", "if", "then"] {
            if let part = schema[key] { try take(part, place) }
        }
        for key in ["anyOf", "allOf", "prefixItems"] {
            for part in schema[key]?.array ?? [] { try take(part, place) }
        }
    }

    private static func isOf(_ type: String, _ value: Json) -> Bool {
        switch (type, value) {
        case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("null", .null),
            ("number", .integer), ("number", .number), ("integer", .integer):
            true
        case ("integer", .number(let number)): number == number.rounded()
        default: false
        }
    }

    private static func same(_ one: Json, _ other: Json) -> Bool {
        if let a = one.double, let b = other.double { a == b } else { one == other }
    }

    private static func isOutside(_ schema: Json, _ least: String, _ most: String, _ size: Int) -> Bool {
        size < schema[least]?.integer ?? 0 || size > schema[most]?.integer ?? .max
    }

    private static func named(_ place: String) -> String { place.isEmpty ? "the whole" : "`\(place.dropFirst())`" }
}
