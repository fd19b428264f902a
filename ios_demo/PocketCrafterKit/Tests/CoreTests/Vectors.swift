import Foundation
import XCTest

@testable import PocketCrafterCore

/// One call that Python answered: its inputs and answers by name.
struct Case {
    let json: Json

    subscript(name: String) -> Json { json[name] ?? .null }

    func text(_ name: String) throws -> String { try XCTUnwrap(self[name].string, name) }

    func int(_ name: String) throws -> Int { try XCTUnwrap(self[name].integer, name) }

    func double(_ name: String) throws -> Double { try XCTUnwrap(self[name].double, name) }

    func ints(_ name: String) throws -> [Int] { try XCTUnwrap(self[name].array, name).map { try XCTUnwrap($0.integer) } }

    func texts(_ name: String) throws -> [String] { try XCTUnwrap(self[name].array, name).map { try XCTUnwrap($0.string) } }

    func cases(_ name: String) throws -> [Case] { try XCTUnwrap(self[name].array, name).map(Case.init) }

    func of(_ name: String) throws -> Case { Case(json: .object(try XCTUnwrap(self[name].object, name))) }

    func floats(_ name: String) throws -> [Float] { try of(name).floats() }

    /// The tensor that this stands for.
    func floats() throws -> [Float] {
        XCTAssertEqual(try text("dtype"), "float32")
        let bytes = try Vectors.shared().bytes(self, itemBytes: 4)
        return stride(from: 0, to: bytes.count, by: 4).map { n in
            Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[n + $1]) << (8 * UInt32($1)) })
        }
    }

    func bytes(_ name: String) throws -> [UInt8] {
        let about = try of(name)
        XCTAssertEqual(try about.text("dtype"), "uint8")
        return try Vectors.shared().bytes(about, itemBytes: 1)
    }

    /// A picture of shape `(height, width, 3)` as planes.
    func planes(_ name: String) throws -> Planes {
        let shape = try of(name).ints("shape")
        let (values, area) = (try floats(name), shape[0] * shape[1])
        return try Planes(
            channels: shape[2], height: shape[0], width: shape[1],
            values.indices.map { values[shape[2] * ($0 % area) + $0 / area] })
    }

    func pixels(_ name: String) throws -> Pixels {
        let about = try of(name)
        let shape = try about.ints("shape")
        guard try about.text("dtype") == "uint16" else {
            return try Pixels(width: shape[1], height: shape[0], rgb: bytes(name))
        }
        let bytes = try Vectors.shared().bytes(about, itemBytes: 2)
        let levels = stride(from: 0, to: bytes.count, by: 2).map { UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8 }
        return try Pixels(width: shape[1], height: shape[0], samples: .sixteen(levels))
    }

    /// A plan as Python spells it; its turn and crop are not this core's.
    func plan(_ name: String) throws -> EditPlan {
        let plan = try of(name)
        return try EditPlan(Dictionary(uniqueKeysWithValues: Attribute.allCases.map { ($0, try plan.double($0.key)) }))
    }

    func gate(_ name: String) throws -> GateSettings { try GateSettings(self[name]) }
}

/// What `pocketcrafter export-vectors` wrote into the folder that the variable `VECTORS` names.
struct Vectors {
    private let folder: URL
    private let cases: Json
    private let tensors: Data

    private static let loaded = Result { try Vectors() }

    static func shared() throws -> Vectors { try loaded.get() }

    private init() throws {
        let path = try XCTUnwrap(
            ProcessInfo.processInfo.environment["VECTORS"], "set VECTORS to a folder, as `make swift` does")
        folder = URL(fileURLWithPath: path)
        cases = try XCTUnwrap(Json.parse(Data(contentsOf: folder.appendingPathComponent("vectors.json")))["cases"])
        tensors = try Data(contentsOf: folder.appendingPathComponent("tensors.bin"), options: .alwaysMapped)
    }

    static func of(_ name: String) throws -> [Case] {
        let cases = try Case(json: shared().cases).cases(name)
        XCTAssertFalse(cases.isEmpty, name)
        return cases
    }

    static func file(_ name: String) throws -> Data { try Data(contentsOf: shared().folder.appendingPathComponent(name)) }

    static func vocabulary() throws -> Data { try file("tokenizer.json") }

    func bytes(_ about: Case, itemBytes: Int) throws -> [UInt8] {
        let count = try about.ints("shape").reduce(itemBytes, *)
        let offset = try about.int("offset")
        return [UInt8](tensors[offset..<offset + count])
    }
}

func assertNear(
    _ expected: [Float], _ actual: [Float], within tolerance: Float, file: StaticString = #filePath, line: UInt = #line
) {
    XCTAssertEqual(expected.count, actual.count, file: file, line: line)
    let worst = zip(expected, actual).map { abs($0 - $1) }.max() ?? 0
    XCTAssertLessThanOrEqual(worst, tolerance, file: file, line: line)
}

func assertNear(_ expected: EditPlan, _ actual: EditPlan, file: StaticString = #filePath, line: UInt = #line) {
    assertNear(expected.vector, actual.vector, within: 1e-3, file: file, line: line)
}

/// The largest difference of two pictures of one size, in levels.
func levelsApart(_ one: Pixels, _ other: Pixels) -> Int {
    XCTAssertEqual([one.width, one.height], [other.width, other.height])
    return zip(levels(one), levels(other)).map { abs($0 - $1) }.max() ?? 0
}

private func levels(_ pixels: Pixels) -> [Int] {
    switch pixels.samples {
    case .eight(let levels): levels.map(Int.init)
    case .sixteen(let levels): levels.map(Int.init)
    }
}

func assertThrows<T>(
    _ expected: KeyPath<PocketCrafterError, Bool>, _ message: String = "", file: StaticString = #filePath,
    line: UInt = #line, _ work: () throws -> T
) {
    XCTAssertThrowsError(try work(), message, file: file, line: line) { error in
        XCTAssertEqual((error as? PocketCrafterError)?[keyPath: expected], true, "\(error)", file: file, line: line)
    }
}

extension PocketCrafterError {
    var isBundle: Bool { if case .bundle = self { true } else { false } }
    var isRunner: Bool { if case .runner = self { true } else { false } }
    var isShape: Bool { if case .shape = self { true } else { false } }
    var isConfig: Bool { if case .config = self { true } else { false } }
    var isProse: Bool { if case .prose = self { true } else { false } }
}
