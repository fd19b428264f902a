import Foundation
import PocketCrafterCore

/// Critiques and enhances photos with one bundle, off the caller's thread, one photo at a time.
public actor PocketCrafter {
    private let folder: URL
    private let runners: @Sendable (PocketBundle) throws -> any RunnerSource
    private let executor = QueueExecutor("org.pocketcrafter")
    private let box = StateBox()
    private var opened: Opened?

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

    /// Returns one of a bundle's folder, open: a real inference has run.
    ///
    /// - Parameters:
    ///   - folder: the bundle's folder.
    ///   - runners: what runs the bundle's networks.
    /// - Throws: as ``open()``.
    public static func open(
        _ folder: URL, runners: @escaping @Sendable (PocketBundle) throws -> any RunnerSource
    ) async throws -> PocketCrafter {
        let crafter = PocketCrafter(folder, runners: runners)
        try await crafter.open()
        return crafter
    }

    /// Opens the bundle, hashes all of it, and runs what a critique begins with once. Does nothing where that was done already.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle is damaged, ``PocketCrafterError/runner(_:)`` if a
    ///   network does not run here, `CancellationError` if the task is cancelled.
    public func open() throws {
        if opened == nil { opened = try settled(Result { try made() }) }
        box.value = rest
    }

    /// Diagnoses a photo in numbers.
    ///
    /// - Throws: as ``Pair/critique(_:)``, and ``PocketCrafterError/config(_:)`` where it is not open.
    public func critique(_ pixels: Pixels) throws -> Critique { try running { try $0.pair.critique(pixels) } }

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
        try running { opened in
            try opened.pair.prose(pixels, mode: mode) { done, all in
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

    /// Runs the bundle's goldens on the engine that runs here: rung 4 of the parity ladder.
    ///
    /// - Parameters:
    ///   - facts: what the device is.
    ///   - progress: told networks done and networks in all.
    /// - Throws: as ``Goldens/run(_:_:kind:progress:)``, ``PocketCrafterError/config(_:)`` where it is not open, and
    ///   `CancellationError` if the task is cancelled.
    public func goldens(
        _ facts: DeviceFacts = DeviceFacts(), progress: @Sendable (_ done: Int, _ all: Int) -> Void = { _, _ in }
    ) throws -> GoldenReport {
        try running { opened in
            let runs = try Goldens.run(opened.bundle, opened.runners, kind: opened.runners.kind) { done, all in
                try Task.checkCancellation()
                progress(done, all)
            }
            return GoldenReport(opened.bundle.manifest, opened.runners, facts, runs)
        }
    }

    /// Times every network: opened, run for the first time, warm, and then for a while without a pause.
    ///
    /// - Parameters:
    ///   - plan: how often, and how long.
    ///   - facts: what the device is.
    ///   - progress: told what is measured.
    /// - Throws: as a ``Runner`` does, ``PocketCrafterError/config(_:)`` where it is not open or the plan measures nothing, and
    ///   `CancellationError` if the task is cancelled.
    public func benchmark(
        _ plan: BenchmarkPlan = BenchmarkPlan(), _ facts: DeviceFacts = DeviceFacts(),
        progress: @Sendable (_ component: String) -> Void = { _ in }
    ) throws -> BenchmarkReport {
        try running { opened in
            opened.pair.release()
            return try Benchmark(opened.bundle, opened.runners, plan, facts).run {
                try Task.checkCancellation()
                progress($0)
            }
        }
    }

    /// Closes the networks to give their memory back, once the present photo is done; the next one opens them again.
    public func release() { opened?.pair.release() }

    /// Closes every network, once the photo that is being worked on is done.
    public func close() {
        opened = nil
        box.value = .cold
    }

    /// What is open.
    private struct Opened {
        let bundle: PocketBundle
        let runners: any RunnerSource
        let pair: any Pair
    }

    private func enhanced(
        _ pixels: Pixels, _ strength: Double, _ geometry: Geometry, _ tell: @Sendable (Int, Int) -> Void
    ) throws -> Enhanced {
        try running { opened in
            try opened.pair.enhance(pixels, strength: strength, geometry: geometry) { done, all in
                try Task.checkCancellation()
                tell(done, all)
            }
        }
    }

    private func made() throws -> Opened {
        let bundle = try PocketBundle(folder)
        try bundle.verify { done, all in
            try Task.checkCancellation()
            box.value = .verifying(done: done, all: all)
        }
        box.value = .warming
        let source = try runners(bundle)
        let pair = try Self.pair(bundle, source)
        try pair.warm()
        return Opened(bundle: bundle, runners: source, pair: pair)
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

    private func running<T>(_ work: (Opened) throws -> T) throws -> T {
        try Task.checkCancellation()
        guard let opened else { throw PocketCrafterError.config("Nothing is open: call open() first.") }
        box.value = .running
        return try settled(Result { try work(opened) })
    }

    /// Leaves the state that fits the end of some work.
    private func settled<T>(_ result: Result<T, any Error>) throws -> T {
        if case .failure(let error as PocketCrafterError) = result, error.breaksNetworks {
            opened = nil
            box.value = .failed(error)
        } else {
            box.value = rest
        }
        return try result.get()
    }

    private var rest: CrafterState { opened.map { .ready(engine: $0.runners.engine) } ?? .cold }
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
