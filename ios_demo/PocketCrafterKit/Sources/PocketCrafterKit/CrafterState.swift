import Foundation
@_exported import PocketCrafterCore

/// Where a ``PocketCrafter`` stands.
public enum CrafterState: Equatable, Sendable {
    /// Nothing was opened yet, or everything was closed.
    case cold
    /// Files are hashed: bytes done, and bytes in all.
    case verifying(done: Int, all: Int)
    /// The critic is opened and runs for the first time; Core ML specializes it for this phone meanwhile.
    case warming
    /// A real inference has run, on this engine.
    case ready(engine: String)
    /// A photo is being worked on.
    case running
    /// It cannot go on; ``PocketCrafter/open()`` tries again.
    case failed(PocketCrafterError)
}

/// What ``PocketCrafter/enhance(_:strength:)`` tells of.
public enum EnhanceProgress: Sendable {
    /// What is done, and at most to do: tiles of restoration, or words and steps of a `latent` pair.
    case steps(done: Int, all: Int)
    /// The photo is finished; always the last.
    case done(Enhanced)
}

/// The current state, readable from anywhere, and who wants to hear of it.
final class StateBox: @unchecked Sendable {
    // Everything below is read and changed with the lock held.
    private let lock = NSLock()
    private var state = CrafterState.cold
    private var listeners: [UUID: AsyncStream<CrafterState>.Continuation] = [:]

    var value: CrafterState {
        get { lock.withLock { state } }
        set {
            let told = lock.withLock {
                state = newValue
                return Array(listeners.values)
            }
            told.forEach { $0.yield(newValue) }
        }
    }

    /// The current state, and each one after it; a listener that is slow misses some, never the last.
    func values() -> AsyncStream<CrafterState> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let id = UUID()
            lock.withLock {
                listeners[id] = continuation
                continuation.yield(state)
            }
            continuation.onTermination = { [weak self] _ in
                self?.lock.withLock { self?.listeners[id] = nil }
            }
        }
    }
}

/// Runs an actor's work on a queue of its own: networks compute for seconds, and Swift's threads are few.
final class QueueExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(_ name: String) { queue = DispatchQueue(label: name, qos: .userInitiated) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}
