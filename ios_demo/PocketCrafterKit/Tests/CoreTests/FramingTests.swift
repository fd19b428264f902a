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
            let photo = try one.pixels("pixels")
            let composer = Composer(network: network)
            let composed = try XCTUnwrap(composer.compose(photo, crops: one["crop"] == .bool(true)))
            XCTAssertEqual(try one["box"] == .null ? nil : box(one["box"]), composed.framing?.box)
            XCTAssertEqual(try one.double("turn_degrees"), composed.framing?.degrees ?? 0, accuracy: 1e-6)
            XCTAssertEqual(one["cropped"], .bool(composed.isCropped))
            XCTAssertEqual(try one.double("severity"), composed.tilt.severity, accuracy: 1e-6)
            try assertReasons(one, composed.reasons)
            XCTAssertEqual(composed.tilt, try composer.tilt(photo))
            let small = try Pixels(width: 63, height: 200, rgb: [UInt8](repeating: 0, count: 3 * 63 * 200))
            XCTAssertNil(try composer.tilt(small))
            XCTAssertNil(try composer.compose(small, crops: true))
        }
    }

    func testWhatStandsOutAndWhyACropIsBetterIsPythons() throws {
        for one in try Vectors.of("salience") {
            assertNear(try one.floats("salience"), Salience(try one.pixels("pixels")).values, within: 1e-4)
        }
        for one in try Vectors.of("frame_facts") {
            let shape = try one.of("salience").ints("shape")
            let salience = Salience(width: shape[1], height: shape[0], values: try one.floats("salience"))
            let (across, down) = (try one.int("width"), try one.int("height"))
            let found = salience.facts(try box(one["box"]), across: across, down: down)
            let expected = try facts(one.of("facts"))
            XCTAssertEqual(expected.toThird, found.toThird, accuracy: 1e-5)
            XCTAssertEqual(expected.toMiddle, found.toMiddle, accuracy: 1e-5)
            XCTAssertEqual(expected.atBorder, found.atBorder, accuracy: 1e-5)
        }
        for one in try Vectors.of("crop_reasons") {
            try assertReasons(one, Reason.of(facts(one.of("before")), facts(one.of("after"))))
        }
    }

    private func facts(_ one: Case) throws -> FrameFacts {
        FrameFacts(
            toThird: try one.double("to_third"), toMiddle: try one.double("to_middle"), atBorder: try one.double("at_border"))
    }

    private func assertReasons(_ one: Case, _ reasons: [Reason]) throws {
        let expected = try one.cases("reasons")
        XCTAssertEqual(try expected.map { try $0.text("kind") }, reasons.map(\.kind.rawValue))
        XCTAssertEqual(try expected.map { try $0.text("words") }, reasons.map(\.words))
        for (told, reason) in zip(expected, reasons) {
            XCTAssertEqual(try told.double("before"), reason.before, accuracy: 1e-4)
            XCTAssertEqual(try told.double("after"), reason.after, accuracy: 1e-4)
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
