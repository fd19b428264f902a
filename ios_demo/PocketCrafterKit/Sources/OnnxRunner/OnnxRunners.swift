import Foundation
import PocketCrafterCore

/// Runs a bundle's `onnx` target with ONNX Runtime's C API on the CPU.
///
/// One environment serves the whole process; ONNX Runtime's telemetry is turned off.
public struct OnnxRunners: RunnerSource {
    private let bundle: PocketBundle
    private let threads: Int
    private let storesWeightsUnsigned: Bool

    public let engine: String

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
        let model = try bundle.artifact(component, kind: "onnx")
        let runtime = try OnnxRuntime.shared.get()
        let session = try runtime.session(model, threads: threads, storesWeightsUnsigned: storesWeightsUnsigned)
        return OnnxRunner(runtime, session, try bundle.manifest.component(component))
    }
}

/// One session; not to be run from two threads at once.
private final class OnnxRunner: Runner {
    private let runtime: OnnxRuntime
    private let session: OpaquePointer
    private let component: Component

    init(_ runtime: OnnxRuntime, _ session: OpaquePointer, _ component: Component) {
        self.runtime = runtime
        self.session = session
        self.component = component
    }

    deinit { runtime.release(session: session) }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        var tensors: [OpaquePointer] = []
        defer { tensors.forEach(runtime.release(value:)) }
        for (spec, values) in zip(component.inputs, try component.inOrder(inputs)) {
            tensors.append(try runtime.tensor(values, shape: spec.shape))
        }
        let named = zip(component.inputs, tensors).map { (name: $0.name, value: $1) }
        let outputs = component.outputs.map(\.name)
        let results = try runtime.run(session, named, outputs: outputs)
        defer { results.forEach(runtime.release(value:)) }
        return Dictionary(uniqueKeysWithValues: zip(outputs, try results.map(runtime.floats)))
    }
}
