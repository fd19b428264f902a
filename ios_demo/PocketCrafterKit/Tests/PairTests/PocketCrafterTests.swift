import Foundation
import OnnxRunner
import PocketCrafterKit
import XCTest

/// What an app sees, on the networks of a real bundle: states that mean what they say, progress, cancelling, and errors
/// after which one can go on. `make swift` holds pictures and words to Python's.
final class PocketCrafterTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        folder = try bundle(ofFamily: "pocket")
    }

    func testReadyMeansThatARealInferenceHasRun() async throws {
        let counter = Counter()
        let crafter = crafter(counter)
        XCTAssertEqual(crafter.state, .cold)
        await assertThrows(ifConfig) { try await crafter.critique(self.photo()) }
        XCTAssertEqual(crafter.state, .cold)
        let heard = Task { await crafter.states.first { if case .ready = $0 { true } else { false } } }
        try await crafter.open()
        // The critic, and the judge where the bundle has one.
        XCTAssertTrue((1...2).contains(counter.runs), "\(counter.runs)")
        guard case .ready(let engine) = crafter.state else { return XCTFail("\(crafter.state)") }
        XCTAssertTrue(engine.hasPrefix("ONNX Runtime 1."), engine)
        let told = await heard.value
        XCTAssertEqual(told, crafter.state)
        await crafter.close()
        XCTAssertEqual(crafter.state, .cold)
    }

    func testAnEnhancedPhotoComesLastAfterItsTiles() async throws {
        let crafter = crafter()
        try await crafter.open()
        let photo = try noisy()
        var tiles: [[Int]] = []
        var enhanced: Enhanced?
        for try await progress in crafter.enhance(photo) {
            XCTAssertNil(enhanced)
            switch progress {
            case .steps(let done, let all): tiles.append([done, all])
            case .done(let result): enhanced = result
            }
        }
        XCTAssertEqual(tiles, [[1, 2], [2, 2]])
        let result = try XCTUnwrap(enhanced)
        XCTAssertEqual([result.pixels.width, result.pixels.height], [photo.width, photo.height])
        XCTAssertNotEqual(result.pixels, photo)
        for try await progress in crafter.enhance(photo, strength: 0) {
            if case .done(let result) = progress { XCTAssertEqual(result.pixels, photo) }
        }
    }

    func testAListenerThatLeavesEndsTheWorkAndTheNextPhotoIsTaken() async throws {
        let counter = Counter()
        let crafter = crafter(counter)
        try await crafter.open()
        for try await _ in crafter.enhance(try noisy(side: 2000)) { break }
        let runs = counter.runs
        _ = try await crafter.critique(photo())
        // One tile at most that was under way, the critic and the judge; four tiles were left.
        XCTAssertLessThanOrEqual(counter.runs, runs + 3)
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
    }

    func testACancelledTaskEndsAtTheNextWord() async throws {
        let counter = Counter()
        let crafter = crafter(counter)
        try await crafter.open()
        let photo = try photo()
        let task = Task { try await crafter.prose(photo) }
        while counter.runs < 10 { await Task.yield() }
        task.cancel()
        let result = await task.result
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
    }

    func testAChangedNetworkIsNotRunAndMendedItIs() async throws {
        let copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.copyItem(at: folder, to: copy)
        addTeardownBlock { try? FileManager.default.removeItem(at: copy) }
        let artifact = try PocketBundle(copy).artifact("tone", kind: "onnx")
        let content = try Data(contentsOf: artifact)
        var changed = content
        changed[100] ^= 1
        try changed.write(to: artifact)
        folder = copy
        let crafter = crafter()
        await assertThrows(ifBundle) { try await crafter.open() }
        guard case .failed = crafter.state else { return XCTFail("\(crafter.state)") }
        try content.write(to: artifact)
        try await crafter.open()
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
    }

    func testANetworkThatFailsIsToldAndAStrengthOutOfRangeFailsNothing() async throws {
        let counter = Counter()
        let crafter = crafter(counter)
        try await crafter.open()
        let photo = try photo()
        await assertThrows(ifConfig) { for try await _ in crafter.enhance(photo, strength: 3) {} }
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
        counter.breaks = true
        await assertThrows(ifRunner) { try await crafter.critique(photo) }
        XCTAssertEqual(crafter.state, .failed(.runner("driver lost")))
    }

    func testInputsOfAnotherSizeAreRefused() throws {
        let bundle = try PocketBundle(folder)
        let critic = try OnnxRunners(bundle).open("critic")
        XCTAssertThrowsError(try critic.run(["view": [1, 2, 3], "crops": []])) { XCTAssertTrue(self.ifShape($0)) }
        XCTAssertThrowsError(try OnnxRunners(bundle).open("sculptor"))
    }

    func testMemoryIsGivenBackAndTakenAgainWhenTheNextPhotoComes() async throws {
        let crafter = crafter()
        try await crafter.open()
        let first = try await crafter.critique(photo())
        await crafter.release()
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
        let second = try await crafter.critique(photo())
        XCTAssertEqual(first, second)
    }

    func testGoldensAndSpeedAreReportedAsPythonReportsThem() async throws {
        let variables = ProcessInfo.processInfo.environment
        guard let reports = variables["REPORTS"] else { throw XCTSkip("Nobody reads reports: set REPORTS, as `make swift` does.") }
        let unsigned = unsigned
        let crafter = try await PocketCrafter.open(folder) { try OnnxRunners($0, storesWeightsUnsigned: unsigned) }
        let told = Counter()
        let goldens = try await crafter.goldens { _, _ in told.add() }
        XCTAssertEqual(goldens.passed, true)
        XCTAssertEqual(told.runs, goldens.runs.count)
        await assertThrows(ifConfig) { try await crafter.benchmark(BenchmarkPlan(repeats: 0)) }
        let plan = BenchmarkPlan(repeats: 7, sustainedSeconds: 1, windowSeconds: 1)
        let speed = try await crafter.benchmark(plan) { _ in told.add() }
        XCTAssertGreaterThan(told.runs, 8 * goldens.runs.count)
        for network in speed.networks {
            XCTAssertEqual([network.samplesMs.count, network.sustained.count], [7, 1])
            XCTAssertGreaterThan(network.peakMib, 1)
        }
        // `make swift` reads both as Python does.
        for (name, text) in [("goldens", goldens.json), ("latency", speed.json)] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: reports).appendingPathComponent("\(name).json"))
        }
        let left = Task { try await crafter.benchmark() }
        while crafter.state != .running { await Task.yield() }
        left.cancel()
        let result = await left.result
        XCTAssertThrowsError(try result.get()) { XCTAssertTrue($0 is CancellationError, "\($0)") }
        guard case .ready = crafter.state else { return XCTFail("\(crafter.state)") }
    }

    func testEveryGoldenReachesItsGate() throws {
        let bundle = try PocketBundle(folder)
        let runs = try Goldens.run(bundle, OnnxRunners(bundle, storesWeightsUnsigned: unsigned), kind: "onnx")
        XCTAssertEqual(runs.map(\.component), bundle.manifest.components.map(\.name))
        for run in runs {
            XCTAssertFalse(run.fidelity.isEmpty)
            XCTAssertEqual(run.passed, true, "\(run)")
        }
    }

    func testPhotosOfOnePixelAndOfSliversComeThrough() async throws {
        let crafter = crafter()
        try await crafter.open()
        for (width, height) in [(1, 1), (3, 700), (700, 2)] {
            let pixels = try Pixels(width: width, height: height, rgb: (0..<3 * width * height).map { UInt8($0 * 37 % 256) })
            for try await progress in crafter.enhance(pixels) {
                if case .done(let result) = progress {
                    XCTAssertEqual([result.pixels.width, result.pixels.height], [width, height])
                }
            }
        }
    }

    private func crafter(_ counter: Counter = Counter()) -> PocketCrafter {
        PocketCrafter(folder) { bundle in
            Counting(source: try OnnxRunners(bundle, storesWeightsUnsigned: unsigned), counter: counter)
        }
    }

    private func photo() throws -> Pixels {
        try Pixels(width: 40, height: 30, rgb: (0..<3600).map { UInt8($0 * 7 % 256) })
    }

    /// Gray with strong noise, which the default bundle's critic wants removed; two tiles high by one wide at 600 px.
    private func noisy(side: Int = 600) throws -> Pixels {
        var state: UInt32 = 1
        let width = min(side, 500)
        return try Pixels(width: width, height: side, rgb: (0..<3 * width * side).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(80 + (state >> 24) / 3)
        })
    }

    private func ifConfig(_ error: any Error) -> Bool { if case PocketCrafterError.config = error { true } else { false } }

    private func ifBundle(_ error: any Error) -> Bool { if case PocketCrafterError.bundle = error { true } else { false } }

    private func ifRunner(_ error: any Error) -> Bool { if case PocketCrafterError.runner = error { true } else { false } }

    private func ifShape(_ error: any Error) -> Bool { if case PocketCrafterError.shape = error { true } else { false } }

    private func assertThrows<T>(
        _ isExpected: (any Error) -> Bool, line: UInt = #line, _ work: () async throws -> T
    ) async {
        do {
            _ = try await work()
            XCTFail("nothing was thrown", line: line)
        } catch {
            XCTAssertTrue(isExpected(error), "\(error)", line: line)
        }
    }
}
