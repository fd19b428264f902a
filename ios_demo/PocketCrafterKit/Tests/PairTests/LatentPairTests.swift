import Foundation
import OnnxRunner
import PocketCrafterKit
import XCTest

/// What an app sees of a latent pair, on the networks of a real bundle.
final class LatentPairTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "/")

    override func setUpWithError() throws { folder = try bundle(ofFamily: "latent") }

    func testAnAnswerIsToldWordByWordAndAnEditStepByStep() async throws {
        let crafter = crafter()
        try await crafter.open()
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
        let photo = try photo()
        var told: [Int] = []
        var most = 0
        var enhanced: Enhanced?
        for try await progress in crafter.enhance(photo) {
            XCTAssertNil(enhanced)
            switch progress {
            case .steps(let done, let all):
                told.append(done)
                most = all
            case .done(let result): enhanced = result
            }
        }
        let result = try XCTUnwrap(enhanced)
        XCTAssertEqual([result.pixels.width, result.pixels.height], [photo.width, photo.height])
        XCTAssertNotEqual(result.pixels, photo)
        XCTAssertNil(result.plan)
        XCTAssertEqual(told, told.sorted())
        XCTAssertEqual(told.last, most)
        let words = Counter()
        let other = try Pixels(width: 50, height: 50, rgb: [UInt8](repeating: 200, count: 7500))
        let answer = try await crafter.prose(other) { done, _ in if done > 0 { words.add() } }
        XCTAssertFalse(answer.text.isEmpty)
        XCTAssertEqual(words.runs, answer.ids.count)
        for try await progress in crafter.enhance(photo, strength: 0) {
            if case .done(let result) = progress { XCTAssertEqual(result.pixels, photo) }
        }
        await assertNumbersAreRefused(crafter)
    }

    func testAListenerThatLeavesEndsTheWorkBetweenTwoStepsAndTheNextPhotoIsTaken() async throws {
        let counter = Counter()
        let crafter = crafter(counter)
        try await crafter.open()
        let photo = try photo()
        // These networks take less time than a task needs to hear that it is cancelled.
        counter.delay = 0.1
        for try await progress in crafter.enhance(photo) {
            if case .steps(let done, _) = progress, done > 0 { break }
        }
        let runs = counter.runs
        // What comes next on the actor waits for the work that was under way.
        await assertNumbersAreRefused(crafter)
        XCTAssertLessThanOrEqual(counter.runs, runs + 2)
        counter.delay = 0
        for try await progress in crafter.enhance(photo) {
            if case .done(let result) = progress { XCTAssertNotEqual(result.pixels, photo) }
        }
        XCTAssertGreaterThan(counter.runs, runs + 2)
    }

    func testEveryGoldenOfEveryFunctionReachesItsGate() throws {
        let bundle = try PocketBundle(folder)
        let runs = try Goldens.run(bundle, OnnxRunners(bundle, storesWeightsUnsigned: unsigned), kind: "onnx")
        for run in runs {
            XCTAssertFalse(run.fidelity.isEmpty)
            XCTAssertEqual(run.passed, true, "\(run)")
        }
        let functions = bundle.manifest.components.filter { !$0.functions.isEmpty }
        XCTAssertEqual(functions.map(\.name), ["language"])
        let outputs = try XCTUnwrap(runs.first { $0.component == "language" }).fidelity.map(\.output)
        XCTAssertEqual([outputs.count, outputs.filter { $0.hasPrefix("prefill.") }.count], [8, 4])
    }

    private func assertNumbersAreRefused(_ crafter: PocketCrafter) async {
        do {
            _ = try await crafter.critique(photo())
            XCTFail("nothing was thrown")
        } catch {
            guard case PocketCrafterError.config = error, case .ready = crafter.state else { return XCTFail("\(error)") }
        }
    }

    private func crafter(_ counter: Counter = Counter()) -> PocketCrafter {
        let unsigned = unsigned
        return PocketCrafter(folder) { bundle in
            Counting(source: try OnnxRunners(bundle, storesWeightsUnsigned: unsigned), counter: counter)
        }
    }

    private func photo() throws -> Pixels {
        let rgb: [UInt8] = (0..<18900).map { (n: Int) -> UInt8 in
            let level: Int = n * 7 + n / 270 * 3
            return UInt8(level % 256)
        }
        return try Pixels(width: 90, height: 70, rgb: rgb)
    }
}

/// A number that may be read and changed from anywhere.
private final class Count: @unchecked Sendable {
    // Read and changed with the lock held.
    private let lock = NSLock()
    private var number = 0

    var value: Int {
        get { lock.withLock { number } }
        set { lock.withLock { number = newValue } }
    }
}
