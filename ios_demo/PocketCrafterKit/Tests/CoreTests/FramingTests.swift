import XCTest

@testable import PocketCrafterCore

/// Photos are levelled and cropped as in Python.
final class FramingTests: XCTestCase {
    func testWhatATurnLeavesIsPythons() throws {
        for one in try Vectors.of("inscribed_box") {
            let box = Framing.inscribed(
                width: try one.int("width"), height: try one.int("height"), degrees: try one.double("degrees"))
            XCTAssertEqual(try self.box(one["box"]), box)
        }
    }

    func testTurnedAndCroppedPixelsArePythons() throws {
        for one in try Vectors.of("cut") {
            let framing = Framing(degrees: try one.double("degrees"), box: try box(one["box"]))
            XCTAssertEqual(try one.pixels("cut"), try framing.cut(one.pixels("pixels")))
        }
        let photo = try Pixels(width: 3, height: 2, rgb: [UInt8](repeating: 9, count: 18))
        for box in [CropBox(left: 0, top: 0, right: 4, bottom: 2), CropBox(left: 1, top: 0, right: 1, bottom: 2)] {
            assertThrows(\.isShape) { try Framing(degrees: 0, box: box).cut(photo) }
        }
    }

    func testTheCompositionNetworkIsShownWhatPythonShowsIt() throws {
        for one in try Vectors.of("working_copy") {
            XCTAssertEqual(try one.pixels("working"), Composer.workingCopy(try one.pixels("pixels")))
        }
        for one in try Vectors.of("letterboxed") {
            let photo = try one.pixels("pixels")
            let whole = CropBox(left: 0, top: 0, right: photo.width, bottom: photo.height)
            let shown = Composer.letterboxed(photo, try one["box"] == .null ? whole : box(one["box"]))
            let inside = try one.bytes("inside").map { Float($0) }
            assertNear(inside, shown.inside, within: 0)
            let levels = try one.bytes("view").map { Float($0) / 255 }
            let view = levels.indices.map { inside[$0 % inside.count] == 1 ? levels[$0] : Float(Constants.letterbox) }
            assertNear(view, shown.view, within: 1e-6)
        }
    }

    func testCropsAreProposedAndDecidedOnAsInPython() throws {
        for one in try Vectors.of("crop_proposals") {
            let crops = try one.cases("proposals").map {
                Crop(box: try box($0["box"]), reference: try box($0["reference"]))
            }
            XCTAssertEqual(crops, Crop.proposals(width: try one.int("width"), height: try one.int("height")))
        }
        for one in try Vectors.of("compose") {
            let network = Scripted(try one.floats("scores"), [
                "tilt": Float(try one.double("tilt")), "confidence": Float(try one.double("confidence")),
            ])
            let framing = try Composer(network: network).framing(one.pixels("pixels"), crops: one["crop"] == .bool(true))
            XCTAssertEqual(try one["box"] == .null ? nil : box(one["box"]), framing?.box)
            XCTAssertEqual(try one.double("turn_degrees"), framing?.degrees ?? 0, accuracy: 1e-6)
        }
    }

    private func box(_ raw: Json) throws -> CropBox {
        let sides = try XCTUnwrap(raw.array).compactMap(\.integer)
        return CropBox(left: sides[0], top: sides[1], right: sides[2], bottom: sides[3])
    }
}

/// A composition network that always sees one tilt, and gives the scores that Python's gave.
private final class Scripted: Runner {
    private let scores: [Float]
    private let said: [String: Float]
    private var runs = 0

    init(_ scores: [Float], _ said: [String: Float]) {
        self.scores = scores
        self.said = said
    }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        defer { runs += 1 }
        return said.merging(["score": scores[runs % scores.count]]) { own, _ in own }.mapValues { [$0] }
    }
}
