import Foundation
import XCTest

@testable import PocketCrafterCore

/// The loops of latent pairs give their networks what Python gives them, and make Python's answers and pictures of it.
final class LatentTests: XCTestCase {
    func testNoiseIsPythonsNumberByNumber() throws {
        for one in try Vectors.of("noise") {
            var noise = Noise(seed: UInt64(try one.int("seed")))
            for draw in try one.cases("draws") {
                let expected = try draw.floats()
                assertNear(expected, noise.draw(expected.count), within: 0)
            }
        }
    }

    func testTimestepsAreToldAsInPython() throws {
        for one in try Vectors.of("time_features") {
            let told = try TimeSettings(one["time"]).features(one.double("timestep"))
            assertNear(try one.floats("features"), told, within: 1e-6)
        }
    }

    func testStepsScaleKeepMoveAndAddNoiseAsInPython() throws {
        for one in try Vectors.of("denoise") {
            var noise = Noise(seed: UInt64(try one.int("seed")))
            let steps = try one.cases("steps").map { try StepSettings($0.json) }
            let start = Planes(unchecked: try one.floats("start"), 4, 2, 2)
            let made = try denoised(start, steps, &noise) { latents, timestep in
                latents.map { $0 * 0.25 + Float(timestep / 1000) }
            }
            assertNear(try one.floats("latents"), made.values, within: 1e-5)
        }
    }

    func testTilesOfLatentsLieAndBlendAsInPython() throws {
        for one in try Vectors.of("latent_tiles") {
            let (tile, scale) = (try one.int("tile"), try one.int("scale"))
            let tiles = LatentTiles(tile: tile, height: try one.int("height"), width: try one.int("width"))
            let expected = try XCTUnwrap(one["places"].array).map { $0.array?.compactMap(\.integer) }
            XCTAssertEqual(expected, tiles.places.map { [$0.top, $0.left] })
            let values = Planes(unchecked: try one.floats("values"), 2, tiles.height, tiles.width)
            var count = 0
            let made = try tiles.map(["latents": values], done: { count += 1 }) { given in
                let latents = try XCTUnwrap(given["latents"])
                let side = tile * scale
                let wide = (0..<2 * side * side).map { n in
                    let (y, x) = (n / side % side, n % side)
                    return latents.values[(n / (side * side) * tile + y / scale) * tile + x / scale]
                        * (1 - Float(y + x) / 256)
                }
                return Planes(unchecked: wide, 2, side, side)
            }
            XCTAssertEqual(count, tiles.places.count)
            assertNear(try one.floats("tiled"), made.values, within: 1e-5)
        }
    }

    func testRotationsOfOneAndOfThreeAxesArePythons() throws {
        for one in try Vectors.of("rotary") {
            let rotary = Rotary(settings: try RotarySettings(one["rotary"]))
            let (cosines, sines) = try rotary.at(axes(one["positions"]))
            assertNear(try one.floats("cosines"), cosines, within: 1e-6)
            assertNear(try one.floats("sines"), sines, within: 1e-6)
            assertThrows(\.isShape) { try rotary.at([[1], [2], [3], [4]]) }
        }
        for one in try Vectors.of("prompt_positions") {
            XCTAssertEqual(try axes(one["positions"]), try CriticSettings(one["critic"]).positions)
        }
    }

    func testWordVectorsArePythonsAndDamagedTablesAreRefused() throws {
        for one in try Vectors.of("word_table") {
            let file = Data(try one.bytes("file"))
            guard one["words"] != .null else {
                assertThrows(\.isBundle) { try WordTable(file) }
                continue
            }
            let table = try WordTable(file)
            XCTAssertEqual(try one.ints("shape"), [table.words, table.width])
            assertNear(try one.floats("rows"), try table.rows(one.ints("words")), within: 0)
            assertThrows(\.isConfig) { try table.rows([table.words]) }
            assertThrows(\.isConfig) { try table.rows([-1]) }
        }
    }

    func testACriticReadsAndWritesWhatPythonsReadsAndWrites() throws {
        for one in try Vectors.of("conversation") {
            let tape = Tape(try one.cases("runs"))
            let critic = try LatentCritic(
                vision: tape.runner("vision"), step: tape.runner("step"), prefill: tape.runner("prefill"),
                language: component(one["language"]), table: WordTable(Data(one.bytes("table"))),
                settings: CriticSettings(one["critic"]))
            let said = try critic.begin(one.floats("picture"))
            var told: [Int] = []
            let words = try one.int("words")
            assertNear(try one.floats("states"), try said.states(words) { done, _ in told.append(done) }, within: 0)
            XCTAssertEqual(told, Array(1...words))
            let answer = try said.finish()
            XCTAssertEqual(try one.ints("ids"), answer.ids)
            assertNear(try one.floats("hidden"), answer.hidden, within: 0)
            tape.assertPlayed()
        }
    }

    func testAnAnswerEndsBetweenTwoWordsWhereItIsCancelled() throws {
        let one = try XCTUnwrap(Vectors.of("conversation").first)
        let tape = Tape(try one.cases("runs"))
        let critic = try LatentCritic(
            vision: tape.runner("vision"), step: tape.runner("step"), prefill: tape.runner("prefill"),
            language: component(one["language"]), table: WordTable(Data(one.bytes("table"))),
            settings: CriticSettings(one["critic"]))
        let said = try critic.begin(one.floats("picture"))
        let read = tape.count
        XCTAssertThrowsError(try said.finish { done, _ in if done == 2 { throw CancellationError() } })
        XCTAssertEqual(tape.count, read + 1)
    }

    func testAnArtistsNetworksAreGivenWhatPythonGivesThem() throws {
        for one in try Vectors.of("edit") {
            let tape = Tape(try one.cases("runs"))
            func network(_ name: String) throws -> Network {
                Network(runner: tape.runner(name), component: try component(one.of("specs")[name]))
            }
            let artist = LatentArtist(
                encode: try network("encode"), denoise: try network("denoise"), decode: try network("decode"),
                bridge: try network("bridge"), settings: try ArtistSettings(one["artist"]))
            var told: [[Int]] = []
            let change = try artist.change(one.planes("picture"), hidden: one.floats("hidden")) { told.append([$0, $1]) }
            assertNear(try one.planes("before").values, change.before.values, within: 1e-5)
            assertNear(try one.planes("after").values, change.after.values, within: 1e-5)
            XCTAssertEqual(try XCTUnwrap(one["progress"].array).map { $0.array?.compactMap(\.integer) }, told)
            tape.assertPlayed()
            assertThrows(\.isBundle) { try artist.change(one.planes("picture"), hidden: nil) }
        }
    }

    func testPhotosBecomeThePicturesOfPythonsNetworks() throws {
        for one in try Vectors.of("critics_picture") {
            let settings = try PictureSettings(one["settings"])
            assertNear(
                try one.floats("picture"), LatentPicture.critics(try one.pixels("pixels"), settings), within: 1e-5)
        }
        for one in try Vectors.of("artists_picture") {
            let picture = LatentPicture.artists(try one.pixels("pixels"), side: try one.int("side"))
            assertNear(try one.planes("picture").values, picture.values, within: 1e-6)
        }
        for one in try Vectors.of("native_picture") {
            let picture = LatentPicture.native(
                try one.pixels("pixels"), side: try one.int("side"), factor: try one.int("factor"))
            XCTAssertEqual(try one.planes("picture"), picture)
        }
        for one in try Vectors.of("resized") {
            let expected = try one.planes("resized")
            let made = Resampling.bicubic.resized(
                try one.planes("picture"), width: expected.width, height: expected.height)
            assertNear(expected.values, made.values, within: 1e-6)
        }
    }

    func testAnEditBecomesPythonsGrid() throws {
        for one in try Vectors.of("fit_transfer") {
            let transfer = try Transfer(one.planes("before"), one.planes("after"))
            assertNear(try one.floats("grid"), transfer.grid.values, within: 1e-4)
            XCTAssertEqual(try one.double("error_db"), transfer.errorDb, accuracy: 1e-2)
        }
    }

    func testIdsBecomePythonsTextAndCritiques() throws {
        let words = try LatentWords(Vectors.file("answers.json"))
        for one in try Vectors.of("answer_text") { XCTAssertEqual(try one.text("text"), words.text(try one.ints("ids"))) }
        for one in try Vectors.of("answer") {
            let told = Told(answer: try one.ints("ids"), stops: try one.ints("stops"), words)
            XCTAssertEqual(try one.text("text"), told.text)
            XCTAssertEqual(one["ended"], .bool(told.ended))
            XCTAssertEqual(one["prose"]["score"]?.integer, told.prose?.score)
        }
        let other = try String(decoding: Vectors.file("answers.json"), as: UTF8.self)
            .replacingOccurrences(of: "\"decoder\": {\"type\": \"ByteLevel\"", with: "\"decoder\": {\"type\": \"Metaspace\"")
        for text in [other, "", "{}"] { assertThrows(\.isBundle) { try LatentWords(Data(text.utf8)) } }
    }

    private func axes(_ raw: Json) throws -> [[Int]] {
        let rows = try XCTUnwrap(raw.array)
        let nested = rows.compactMap { $0.array?.compactMap(\.integer) }
        return nested.isEmpty ? [rows.compactMap(\.integer)] : nested
    }

    /// A component as Python spells its spec.
    private func component(_ raw: Json?) throws -> Component {
        let spec = Case(json: try XCTUnwrap(raw))
        func tensors(_ name: String) throws -> [TensorSpec] {
            try spec.cases(name).map { TensorSpec(name: try $0.text("name"), shape: try $0.ints("shape")) }
        }
        let functions = spec["functions"].array ?? []
        return Component(
            name: spec["name"].string ?? "", inputs: try tensors("inputs"), outputs: try tensors("outputs"), artifacts: [:], precisions: [:],
            goldens: [], gatesDb: [:],
            functions: Dictionary(uniqueKeysWithValues: try functions.map {
                (try XCTUnwrap($0["name"]?.string), try component($0))
            }))
    }
}

/// Networks whose runs Python recorded: their inputs are compared, their outputs played back.
private final class Tape {
    private let runs: [Case]
    private(set) var count = 0

    init(_ runs: [Case]) { self.runs = runs }

    func runner(_ name: String) -> any Runner { Played(self, name) }

    func assertPlayed() { XCTAssertEqual(count, runs.count) }

    func play(_ name: String, _ inputs: [String: [Float]]) throws -> [String: [Float]] {
        guard count < runs.count else { throw PocketCrafterError.runner("`\(name)` was run once more than in Python.") }
        let run = runs[count]
        count += 1
        XCTAssertEqual(try run.text("network"), name)
        let expected = try run.of("inputs")
        XCTAssertEqual(Set(expected.json.object?.keys ?? []), Set(inputs.keys), name)
        for (input, values) in inputs { assertNear(try expected.floats(input), values, within: 1e-5) }
        let outputs = try run.of("outputs")
        return Dictionary(uniqueKeysWithValues: try (outputs.json.object?.keys ?? []).map { ($0, try outputs.floats($0)) })
    }

    private final class Played: Runner {
        private let tape: Tape
        private let name: String

        init(_ tape: Tape, _ name: String) {
            self.tape = tape
            self.name = name
        }

        func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] { try tape.play(name, inputs) }
    }
}
