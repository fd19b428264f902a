import Foundation
import PocketCrafterCore

/// Critiques and enhances photos with one bundle, off the caller's thread, one photo at a time.
public actor PocketCrafter {
    private static let warmPx = 64
    private static let gray: UInt8 = 0x70

    private let folder: URL
    private let runners: @Sendable (PocketBundle) throws -> any RunnerSource
    private let executor = QueueExecutor("org.pocketcrafter")
    private let box = StateBox()
    private var pair: PhotoPair?
    private var engine = ""

    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Where it stands; never goes back from ``CrafterState/failed(_:)`` by itself.
    public nonisolated var state: CrafterState { box.value }

    /// The current state, and each one after it, until the task that listens is cancelled.
    public nonisolated var states: AsyncStream<CrafterState> { box.values() }

    /// - Parameters:
    ///   - folder: the bundle's folder.
    ///   - runners: what runs the bundle's networks.
    public init(_ folder: URL, runners: @escaping @Sendable (PocketBundle) throws -> any RunnerSource) {
        self.folder = folder
        self.runners = runners
    }

    /// Opens the bundle, hashes all of it, and runs the critic once. Does nothing where that was done already.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle is damaged, ``PocketCrafterError/runner(_:)`` if a
    ///   network does not run here, `CancellationError` if the task is cancelled.
    public func open() throws {
        if pair == nil { pair = try settled(Result { try opened() }) }
        box.value = rest
    }

    /// Diagnoses a photo.
    ///
    /// - Throws: as ``PhotoPair/critique(_:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public func critique(_ pixels: Pixels) throws -> Critique { try running { try $0.critique(pixels) } }

    /// Diagnoses a photo and puts it into words; cancelling the task ends it at the next word.
    ///
    /// - Throws: as ``PhotoPair/prose(_:mode:check:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public func prose(_ pixels: Pixels, mode: Mode = .full) throws -> Told {
        try running { try $0.prose(pixels, mode: mode, check: Task.checkCancellation) }
    }

    /// Enhances a photo; leaving the stream, or cancelling its task, ends the work at the next tile.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - strength: factor on the plan, in [0, 2].
    /// - Returns: tiles as they are done, then the photo; it throws as
    ///   ``PhotoPair/enhance(_:strength:progress:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public nonisolated func enhance(_ pixels: Pixels, strength: Double = 1) -> AsyncThrowingStream<EnhanceProgress, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    let enhanced = try await self.enhanced(pixels, strength) { done, all in
                        continuation.yield(.tiles(done: done, all: all))
                    }
                    continuation.yield(.done(enhanced))
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// Closes every network, once the photo that is being worked on is done.
    public func close() {
        pair = nil
        box.value = .cold
    }

    private func enhanced(
        _ pixels: Pixels, _ strength: Double, _ tell: @Sendable (Int, Int) -> Void
    ) throws -> Enhanced {
        try running { pair in
            try pair.enhance(pixels, strength: strength) { done, all in
                try Task.checkCancellation()
                tell(done, all)
            }
        }
    }

    private func opened() throws -> PhotoPair {
        let bundle = try PocketBundle(folder)
        try bundle.verify { done, all in
            try Task.checkCancellation()
            box.value = .verifying(done: done, all: all)
        }
        guard let gate = bundle.manifest.gate else {
            throw PocketCrafterError.bundle(
                "The bundle is of the family `\(bundle.manifest.family)`; this app runs pocket bundles.")
        }
        box.value = .warming
        let hasWords = bundle.manifest.files.contains { $0.path == Targets.tokenizer }
        let source = try runners(bundle)
        let made = PhotoPair(source, gate: gate, vocabulary: hasWords ? try bundle.vocabulary() : nil)
        let rgb = [UInt8](repeating: Self.gray, count: 3 * Self.warmPx * Self.warmPx)
        _ = try made.critique(Pixels(width: Self.warmPx, height: Self.warmPx, rgb: rgb))
        engine = source.engine
        return made
    }

    private func running<T>(_ work: (PhotoPair) throws -> T) throws -> T {
        try Task.checkCancellation()
        guard let pair else { throw PocketCrafterError.config("Nothing is open: call open() first.") }
        box.value = .running
        return try settled(Result { try work(pair) })
    }

    /// Leaves the state that fits the end of some work.
    private func settled<T>(_ result: Result<T, any Error>) throws -> T {
        if case .failure(let error as PocketCrafterError) = result, error.breaksNetworks {
            pair = nil
            box.value = .failed(error)
        } else {
            box.value = rest
        }
        return try result.get()
    }

    private var rest: CrafterState { pair == nil ? .cold : .ready(engine: engine) }
}

private extension PocketCrafterError {
    /// Whether nothing can be run any more after it.
    var breaksNetworks: Bool {
        switch self {
        case .bundle, .runner: true
        case .shape, .config, .prose: false
        }
    }
}
