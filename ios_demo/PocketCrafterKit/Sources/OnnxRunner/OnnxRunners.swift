import Foundation
import PocketCrafterCore

/// Runs a bundle's `onnx` target with ONNX Runtime's C API on the CPU.
///
/// One environment serves the whole process; ONNX Runtime's telemetry is turned off.
public struct OnnxRunners: RunnerSource {
    private let bundle: PocketBundle
    private let storesWeightsUnsigned: Bool
    private let sessions = Sessions()

    public let engine: String
    public let kind = "onnx"
    public let threads: Int

    /// - Parameters:
    ///   - bundle: where the artifacts come from, each hashed before it is opened.
    ///   - threads: threads of one operator, ≥ 1.
    ///   - storesWeightsUnsigned: for x86 processors whose products of signed 8-bit integers saturate; exact there, and
    ///     slower than what other processors have.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if ONNX Runtime cannot be used here.
    public init(_ bundle: PocketBundle, threads: Int = 2, storesWeightsUnsigned: Bool = false) throws {
        self.bundle = bundle
        self.threads = threads
        self.storesWeightsUnsigned = storesWeightsUnsigned
        engine = "ONNX Runtime \(try OnnxRuntime.shared.get().version), CPU"
    }

    public func open(_ component: String) throws -> any Runner {
        OnnxRunner(try session(component), try bundle.manifest.component(component))
    }

    /// Opens a further function: the same graph, whose free axes take its shapes. It shares the component's session.
    public func open(_ component: String, function: String) throws -> any Runner {
        OnnxRunner(try session(component), try bundle.manifest.component(component).function(function))
    }

    private func session(_ component: String) throws -> OnnxSession {
        try sessions.session(component) {
            let model = try bundle.artifact(component, kind: kind)
            let runtime = try OnnxRuntime.shared.get()
            let made = try runtime.session(model, threads: threads, storesWeightsUnsigned: storesWeightsUnsigned)
            let layered = try runtime.inputs(made).contains(LayerCaches.part("keys", 0))
            return OnnxSession(runtime, made, hasLayerCaches: layered)
        }
    }
}

/// The sessions that are open, by component; none is kept open by this alone.
private final class Sessions: @unchecked Sendable {
    // Read and changed with the lock held.
    private let lock = NSLock()
    private var opened: [String: WeakSession] = [:]

    private struct WeakSession { weak var session: OnnxSession? }

    func session(_ component: String, open: () throws -> OnnxSession) throws -> OnnxSession {
        try lock.withLock {
            if let session = opened[component]?.session { return session }
            let session = try open()
            opened[component] = WeakSession(session: session)
            return session
        }
    }
}

/// One session of ONNX Runtime, closed with its last reference.
private final class OnnxSession {
    let runtime: OnnxRuntime
    let pointer: OpaquePointer
    /// Whether the graph has its caches layer by layer.
    let hasLayerCaches: Bool

    init(_ runtime: OnnxRuntime, _ pointer: OpaquePointer, hasLayerCaches: Bool) {
        self.runtime = runtime
        self.pointer = pointer
        self.hasLayerCaches = hasLayerCaches
    }

    deinit { runtime.release(session: pointer) }
}

/// One function of a session; not to be run from two threads at once.
private final class OnnxRunner: Runner {
    private let session: OnnxSession
    private let component: Component

    init(_ session: OnnxSession, _ component: Component) {
        self.session = session
        self.component = component
    }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        let runtime = session.runtime
        let values = zip(component.inputs, try component.inOrder(inputs))
        let caches = session.hasLayerCaches ? try LayerCaches(component, inputs) : nil
        var named: [(name: String, value: OpaquePointer)] = []
        defer { named.forEach { runtime.release(value: $0.value) } }
        for (spec, given) in values where caches == nil || LayerCaches.names[spec.name] == nil {
            named.append((name: spec.name, value: try runtime.tensor(given, shape: spec.shape)))
        }
        let parts = try caches?.tensors(runtime) ?? []
        named += parts.map { (name: $0.input, value: $0.value) }
        let outputs = component.outputs.map(\.name).filter { caches == nil || !LayerCaches.names.values.contains($0) }
        let pinned = parts.map { (name: $0.output, value: $0.value) }
        let results = try runtime.run(session.pointer, named, outputs: outputs, pinned: pinned)
        defer { results.forEach(runtime.release(value:)) }
        let made = Dictionary(uniqueKeysWithValues: zip(outputs, try results.map(runtime.floats)))
        return made.merging(caches?.added() ?? [:]) { own, _ in own }
    }
}
