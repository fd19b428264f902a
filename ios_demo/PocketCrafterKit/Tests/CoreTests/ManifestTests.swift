import Foundation
import XCTest

@testable import PocketCrafterCore

/// Manifests are legal where Python's are, and files are what their manifest says before anything is made of them.
final class ManifestTests: XCTestCase {
    private static let spoiled = 20_000

    private func legal() throws -> String { try XCTUnwrap(Vectors.of("manifest").first).text("text") }

    func testWhatPythonRefusesIsRefusedAndNothingElse() throws {
        for one in try Vectors.of("manifest") + Vectors.of("latent_manifest") {
            let text = try one.text("text")
            if one["legal"] == .bool(true) {
                XCTAssertNoThrow(try Manifest(Data(text.utf8)))
            } else {
                assertThrows(\.isBundle, String(text.prefix(300))) { try Manifest(Data(text.utf8)) }
            }
        }
    }

    func testAManifestsComponentsTargetsAndGateAreRead() throws {
        let manifest = try Manifest(Data(legal().utf8))
        XCTAssertEqual(manifest.components.map(\.name), ["critic", "judge", "tone", "restore", "decoder"])
        XCTAssertEqual(try manifest.component("critic").inputs[0].shape, [1, 3, 256, 256])
        XCTAssertEqual(try manifest.component("tone").artifacts["onnx"], "targets/onnx/tone.onnx")
        XCTAssertEqual(manifest.targets.map(\.backend), ["onnxruntime"])
        XCTAssertEqual(try XCTUnwrap(manifest.gate)[.dejpeg].presence, 0.5, accuracy: 1e-9)
        XCTAssertEqual(try XCTUnwrap(manifest.gate?.judge).bar, 0.25, accuracy: 1e-9)
        assertThrows(\.isBundle) { try manifest.component("sculptor") }
        let latent = try Manifest(Data(XCTUnwrap(Vectors.of("latent_manifest").first).text("text").utf8))
        XCTAssertNil(latent.gate)
        XCTAssertEqual(latent.latent?.critic?.rows, 2)
        XCTAssertEqual(latent.latent?.artist?.seed, 5)
    }

    func testSpoiledManifestsGiveTypedErrors() throws {
        let legal = [UInt8](try legal().utf8)
        var random = Generator(state: 7)
        for _ in 0..<Self.spoiled {
            var spoiled = legal
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                spoiled[Int.random(in: spoiled.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            do {
                _ = try Manifest(Data(spoiled))
            } catch PocketCrafterError.bundle {
                // What it should be, where the change was not one of a name or number that may be any.
            }
        }
    }

    func testJsonIsReadStrictly() throws {
        let value = try Json.parse(Data("[1, -2.5, \"\\u00e9\\n\\ud83d\\ude00\", null, true, {}]".utf8))
        let expected: [Json] = [
            .integer(1), .number(-2.5), .string("é\n😀"), .null, .bool(true), .object(JsonObject()),
        ]
        XCTAssertEqual(value, .array(expected))
        let bad = [
            "01", "1.", "NaN", "[1,]", "{\"a\":1,\"a\":1}", "\"\u{01}\"", "tru", "1e999", "\"\\x\"", "[1] 2", "\"\\u00e\"",
            "\"\\ud83d\"", "\"\\ude00\"", "-", "+1", ".5", "",
        ]
        for text in bad {
            XCTAssertThrowsError(try Json.parse(Data(text.utf8)), text) { XCTAssertTrue($0 is JsonError) }
        }
    }

    func testDigestsAreThoseOfTheStandard() throws {
        // FIPS 180-4, the two examples of NIST.
        XCTAssertEqual(
            try Sha256.hex(Data("abc".utf8)), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        XCTAssertEqual(
            try Sha256.hex(Data()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    }

    func testAnArtifactIsHandedOutOnlyWithTheManifestsDigest() throws {
        let root = try bundle()
        let bundle = try PocketBundle(root)
        try bundle.verify()
        XCTAssertEqual(try String(contentsOf: bundle.artifact("tone", kind: "onnx"), encoding: .utf8), "weights of tone")
        try Data("weights of Tone".utf8).write(to: root.appendingPathComponent("targets/onnx/tone.onnx"))
        XCTAssertThrowsError(try bundle.artifact("tone", kind: "onnx")) {
            XCTAssertTrue("\($0)".contains("SHA-256"))
        }
        assertThrows(\.isBundle) { try bundle.verify() }
        assertThrows(\.isBundle) { try bundle.artifact("tone", kind: "coreml:ios17") }
    }

    func testABundleThatLacksAFileOrHasAnotherManifestOrLinksDoesNotOpen() throws {
        let files = FileManager.default
        func refused(_ spoil: (_ root: URL, _ tone: URL) throws -> Void) throws {
            let root = try bundle()
            try spoil(root, root.appendingPathComponent("targets/onnx/tone.onnx"))
            assertThrows(\.isBundle) { try PocketBundle(root) }
        }
        try refused { root, _ in
            let manifest = root.appendingPathComponent("manifest.json")
            try (Data(contentsOf: manifest) + Data(" ".utf8)).write(to: manifest)
        }
        try refused { _, tone in try files.removeItem(at: tone) }
        try refused { _, tone in try Data("x".utf8).write(to: tone) }
        try refused { root, tone in
            let moved = try folder().appendingPathComponent("tone")
            try files.moveItem(at: tone, to: moved)
            try files.createSymbolicLink(at: tone, withDestinationURL: moved)
        }
        try refused { root, tone in
            let moved = try folder().appendingPathComponent("onnx")
            try files.moveItem(at: tone.deletingLastPathComponent(), to: moved)
            try files.createSymbolicLink(at: tone.deletingLastPathComponent(), withDestinationURL: moved)
        }
        assertThrows(\.isBundle) { try PocketBundle(folder()) }
    }

    private func folder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
        return folder
    }

    /// Writes a bundle whose files hold a few words each.
    private func bundle() throws -> URL {
        let root = try folder()
        var text = try legal()
        for entry in try Manifest(Data(text.utf8)).files {
            let file = root.appendingPathComponent(entry.path)
            let content = Data("weights of \(file.deletingPathExtension().lastPathComponent)".utf8)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try content.write(to: file)
            text = text.replacingOccurrences(
                of: "\"\(entry.sha256)\",(\\s*)\"size\": \(entry.size)(?![0-9])",
                with: "\"\(try Sha256.hex(content))\",$1\"size\": \(content.count)", options: .regularExpression)
        }
        try Data(text.utf8).write(to: root.appendingPathComponent("manifest.json"))
        try Data("\(try Sha256.hex(Data(text.utf8)))  manifest.json\n".utf8)
            .write(to: root.appendingPathComponent("manifest.sha256"))
        return root
    }
}

/// A generator that gives the same numbers every time (SplitMix64; Steele, Lea, Flood, 2014).
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
