import Foundation
import XCTest

@testable import PocketCrafterCore

/// Zipped bundles as Python packs them are unpacked, and nothing else is.
final class UnpackingTests: XCTestCase {
    private static let pieces = 24

    private var archive = URL(fileURLWithPath: "/")
    private var folder = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        guard let path = ProcessInfo.processInfo.environment["ARCHIVE"] else {
            throw XCTSkip("There is no zipped bundle: set ARCHIVE to one, as `make swift` does.")
        }
        archive = URL(fileURLWithPath: path)
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let made = folder
        addTeardownBlock { try? FileManager.default.removeItem(at: made) }
    }

    func testAnUnpackedBundleIsTheOneThatWasPacked() throws {
        let place = folder.appendingPathComponent("unpacked")
        var told: [Int] = []
        let bundle = try PocketBundle.unpack(archive, to: place) { done, _ in told.append(done) }
        try bundle.verify()
        let packed = try XCTUnwrap(ProcessInfo.processInfo.environment["BUNDLE"])
        XCTAssertEqual(try bundle.identity(), try PocketBundle(URL(fileURLWithPath: packed)).identity())
        XCTAssertEqual(told.count, bundle.manifest.files.count + 2)
        XCTAssertEqual(try contents(), ["unpacked"])
        assertThrows { try PocketBundle.unpack(self.archive, to: place) }
        XCTAssertThrowsError(try PocketBundle.unpack(archive, to: folder.appendingPathComponent("other")) { _, _ in
            throw CancellationError()
        })
        XCTAssertEqual(try contents(), ["unpacked"])
    }

    func testWhatKilledUnpackingsLeftIsRemoved() throws {
        let dayAgo = Date().addingTimeInterval(-86_400)
        let (old, young) = (".unpacked.\(UUID().uuidString)", ".unpacked.\(UUID().uuidString)")
        for (name, changed) in [(old, dayAgo), (young, Date()), (".unpacked.mine", dayAgo)] {
            let made = folder.appendingPathComponent(name)
            try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.modificationDate: changed], ofItemAtPath: made.path)
        }
        try PocketBundle.unpack(archive, to: folder.appendingPathComponent("unpacked"))
        XCTAssertEqual(Set(try contents()), [young, ".unpacked.mine", "unpacked"])
    }

    func testAnArchiveThatIsNotThereAndAPlaceThatCannotBeMadeAreErrorsOfThisPackage() throws {
        let (none, place) = (folder.appendingPathComponent("none"), folder.appendingPathComponent("unpacked"))
        assertThrows { try PocketBundle.unpack(none, to: place) }
        let file = folder.appendingPathComponent("file")
        try Data().write(to: file)
        assertThrows { try PocketBundle.unpack(self.archive, to: file.appendingPathComponent("unpacked")) }
    }

    func testNoMoreIsInflatedThanTheArchiveSays() throws {
        let letters = Data(repeating: UInt8(ascii: "a"), count: 100)
        let deflated = Data([0x4b, 0x4c, 0xa4, 0x3d, 0x00, 0x00])
        XCTAssertEqual(try inflated(deflated, count: 100), letters)
        for count in [0, 99, 101] { assertThrows { try inflated(deflated, count: count) } }
        assertThrows { try inflated(deflated.dropLast(), count: 100) }
    }

    func testPathsThatLeaveTheBundleAndRepeatedNamesAreRefused() throws {
        for name in ["../ifest.json", "/anifest.json", "manifest.jso.", "manifest.JSON"] {
            try refused { Self.replaced($0, "manifest.json", with: name) }
        }
        let names = try ZipFile(Data(contentsOf: archive)).members.map(\.name)
        let (one, other) = try XCTUnwrap(names.lazy.compactMap { name in
            names.first { $0 != name && $0.utf8.count == name.utf8.count }.map { (name, $0) }
        }.first)
        try refused { Self.replaced($0, one, with: other) }
    }

    func testDamagedArchivesAreRefusedAndLeaveNothing() throws {
        let whole = try Data(contentsOf: archive)
        for part in [0, 1, 21, 22, whole.count / 2, whole.count - 1] { try refused { $0.prefix(part) } }
        for n in 0..<Self.pieces {
            var spoiled = whole
            // The list of files stands at the end.
            spoiled[whole.count - 1 - n * 97 % (whole.count / 8)] ^= 0x55
            let copy = folder.appendingPathComponent("spoiled.zip")
            try spoiled.write(to: copy)
            do {
                try PocketBundle.unpack(copy, to: folder.appendingPathComponent("unpacked")).verify()
            } catch PocketCrafterError.bundle {
                // What it should be, where the change was not one of a time or an attribute.
            }
            try? FileManager.default.removeItem(at: folder.appendingPathComponent("unpacked"))
        }
        XCTAssertEqual(try contents(), ["spoiled.zip"])
    }

    private func refused(_ spoil: (Data) -> Data) throws {
        let copy = folder.appendingPathComponent("spoiled.zip")
        try spoil(Data(contentsOf: archive)).write(to: copy)
        assertThrows { try PocketBundle.unpack(copy, to: self.folder.appendingPathComponent("unpacked")) }
        XCTAssertEqual(try contents(), ["spoiled.zip"])
    }

    private func contents() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.path) }

    private func assertThrows<T>(_ work: () throws -> T) {
        XCTAssertThrowsError(try work()) { error in
            guard case PocketCrafterError.bundle = error else { return XCTFail("\(error)") }
        }
    }

    private static func replaced(_ archive: Data, _ name: String, with other: String) -> Data {
        var archive = archive
        var from = archive.startIndex
        while let found = archive.range(of: Data(name.utf8), in: from..<archive.endIndex) {
            archive.replaceSubrange(found, with: Data(other.utf8))
            from = found.upperBound
        }
        return archive
    }
}
