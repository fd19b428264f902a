import Foundation
import PocketCrafterCore

/// Critiques and enhances photos with one bundle, off the caller's thread, one photo at a time.
public actor PocketCrafter {
    private let folder: URL
    private let runners: @Sendable (PocketBundle) throws -> any RunnerSource
    private let executor = QueueExecutor("org.pocketcrafter")
    private let box = StateBox()
    private var pair: (any Pair)?
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

    /// Opens the bundle, hashes all of it, and runs what a critique begins with once. Does nothing where that was done already.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle is damaged, ``PocketCrafterError/runner(_:)`` if a
    ///   network does not run here, `CancellationError` if the task is cancelled.
    public func open() throws {
        if pair == nil { pair = try settled(Result { try opened() }) }
        box.value = rest
    }

    /// Diagnoses a photo in numbers.
    ///
    /// - Throws: as ``Pair/critique(_:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public func critique(_ pixels: Pixels) throws -> Critique { try running { try $0.critique(pixels) } }

    /// Diagnoses a photo in words; cancelling the task ends it at the next word.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - mode: how much is written.
    ///   - progress: told the words that are written, and the most that there will be.
    /// - Throws: as ``Pair/prose(_:mode:progress:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public func prose(
        _ pixels: Pixels, mode: Mode = .full, progress: @Sendable (_ done: Int, _ all: Int) -> Void = { _, _ in }
    ) throws -> Told {
        try running { pair in
            try pair.prose(pixels, mode: mode) { done, all in
                try Task.checkCancellation()
                progress(done, all)
            }
        }
    }

    /// Enhances a photo; leaving the stream, or cancelling its task, ends the work at the next tile, word or step.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - strength: factor on the edit, in [0, 2].
    ///   - geometry: whether it may be levelled and cropped too.
    /// - Returns: what is done, as it is done, then the photo; it throws as
    ///   ``Pair/enhance(_:strength:geometry:progress:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public nonisolated func enhance(
        _ pixels: Pixels, strength: Double = 1, geometry: Geometry = .kept
    ) -> AsyncThrowingStream<EnhanceProgress, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    let enhanced = try await self.enhanced(pixels, strength, geometry) { done, all in
                        continuation.yield(.steps(done: done, all: all))
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
        _ pixels: Pixels, _ strength: Double, _ geometry: Geometry, _ tell: @Sendable (Int, Int) -> Void
    ) throws -> Enhanced {
        try running { pair in
            try pair.enhance(pixels, strength: strength, geometry: geometry) { done, all in
                try Task.checkCancellation()
                tell(done, all)
            }
        }
    }

    private func opened() throws -> any Pair {
        let bundle = try PocketBundle(folder)
        try bundle.verify { done, all in
            try Task.checkCancellation()
            box.value = .verifying(done: done, all: all)
        }
        box.value = .warming
        let source = try runners(bundle)
        let made = try Self.pair(bundle, source)
        try made.warm()
        engine = source.engine
        return made
    }

    private static func pair(_ bundle: PocketBundle, _ source: any RunnerSource) throws -> any Pair {
        if let latent = bundle.manifest.latent { return LatentPair(source, bundle, latent) }
        guard let gate = bundle.manifest.gate else {
            throw PocketCrafterError.bundle("The bundle is of the family `\(bundle.manifest.family)`, which holds no pair.")
        }
        let hasWords = bundle.manifest.files.contains { $0.path == Targets.tokenizer }
        return PhotoPair(
            source, gate: gate, vocabulary: hasWords ? try bundle.vocabulary() : nil,
            composes: bundle.has(Composer.component))
    }

    private func running<T>(_ work: (any Pair) throws -> T) throws -> T {
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
