import Foundation
import OnnxRunner
import PocketCrafterKit
import XCTest

/// Whether weights are to be stored unsigned on this processor.
var unsigned: Bool { ProcessInfo.processInfo.environment["UNSIGNED_WEIGHTS"] == "1" }

/// The folder of the bundle that is tested.
///
/// - Throws: `XCTSkip` where there is none, or one of another family.
func bundle(ofFamily family: String) throws -> URL {
    guard let path = ProcessInfo.processInfo.environment["BUNDLE"] else {
        throw XCTSkip("There is no bundle: set BUNDLE to a folder, as `make swift` does.")
    }
    let folder = URL(fileURLWithPath: path)
    let found = try PocketBundle(folder).manifest.family
    guard found == family else { throw XCTSkip("The bundle is of the family \(found), not of \(family).") }
    return folder
}

/// How often networks ran, and whether they fail.
final class Counter: @unchecked Sendable {
    // All are read and changed with the lock held.
    private let lock = NSLock()
    private var count = 0
    private var broken = false
    private var pause = 0.0

    var runs: Int { lock.withLock { count } }

    var breaks: Bool {
        get { lock.withLock { broken } }
        set { lock.withLock { broken = newValue } }
    }

    /// Seconds that every run takes longer.
    var delay: TimeInterval {
        get { lock.withLock { pause } }
        set { lock.withLock { pause = newValue } }
    }

    func add() { lock.withLock { count += 1 } }
}

/// Real networks whose runs are counted.
struct Counting: RunnerSource {
    let source: any RunnerSource
    let counter: Counter

    var engine: String { source.engine }
    var kind: String { source.kind }
    var threads: Int { source.threads }

    func open(_ component: String) throws -> any Runner {
        CountingRunner(runner: try source.open(component), counter: counter)
    }

    func open(_ component: String, function: String) throws -> any Runner {
        CountingRunner(runner: try source.open(component, function: function), counter: counter)
    }
}

private final class CountingRunner: Runner {
    private let runner: any Runner
    private let counter: Counter

    init(runner: any Runner, counter: Counter) {
        self.runner = runner
        self.counter = counter
    }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        if counter.breaks { throw PocketCrafterError.runner("driver lost") }
        counter.add()
        Thread.sleep(forTimeInterval: counter.delay)
        return try runner.run(inputs)
    }
}
