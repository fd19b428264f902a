#if canImport(CoreML)
import CoreML
import Foundation
import PocketCrafterCore

/// Runs a bundle's Core ML target: the newest that this system takes.
///
/// A package is compiled once into the app's caches, and Core ML specializes it for this chip when it is first loaded: that
/// takes seconds, after which both are kept by the system. Ready means that the critic has run.
public struct CoreMLRunners: RunnerSource {
    private let bundle: PocketBundle
    private let units: MLComputeUnits
    private let folder: URL

    public let engine: String
    /// The kind of target that runs, such as `coreml:ios18`.
    public let kind: String

    /// - Parameters:
    ///   - bundle: where the artifacts come from, each hashed before it is compiled.
    ///   - units: what may compute.
    ///   - caches: where compiled models are kept, the app's own caches where `nil`; the bundle's identity names their
    ///     folder.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle has no target for this system,
    ///   ``PocketCrafterError/runner(_:)`` where the app has no caches.
    public init(
        _ bundle: PocketBundle, units: MLComputeUnits = .cpuAndNeuralEngine, caches: URL? = nil
    ) throws {
        guard let kind = Self.kinds.first(where: bundle.has(kind:)) else {
            throw PocketCrafterError.bundle("The bundle has no Core ML target for this system: build it with one.")
        }
        self.bundle = bundle
        self.kind = kind
        self.units = units
        folder = try (caches ?? Self.caches()).appendingPathComponent("pocketcrafter/\(try bundle.identity())/\(kind)")
        engine = "Core ML (\(kind)), \(units.words)"
    }

    public func open(_ component: String) throws -> any Runner {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        return CoreMLRunner(try load(component, configuration), try bundle.manifest.component(component))
    }

    public func open(_ component: String, function: String) throws -> any Runner {
        let contract = try bundle.manifest.component(component).function(function)
        guard #available(iOS 18, macOS 15, *), kind != Self.stateless else {
            throw PocketCrafterError.runner("`\(component)` has the function `\(function)`, which takes iOS 18.")
        }
        return CoreMLRunner(try load(component, self.function(function)), contract)
    }

    public func openDecoder() throws -> any Decoder {
        guard #available(iOS 18, macOS 15, *), kind != Self.stateless else {
            return CachingDecoder(try open("decoder"))
        }
        return try CoreMLDecoder(decode: load("decoder", function("decode")), prefill: load("decoder", function("prefill")))
    }

    private static func caches() throws -> URL {
        do {
            return try FileManager.default.url(for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        } catch {
            throw PocketCrafterError.runner("The app has no folder for caches: \(error.localizedDescription)")
        }
    }

    private static let stateless = "coreml:ios17"

    /// The kinds of targets that this system takes, the newest first.
    private static var kinds: [String] {
        if #available(iOS 26, macOS 26, *) { return ["coreml:ios26", "coreml:ios18", stateless] }
        if #available(iOS 18, macOS 15, *) { return ["coreml:ios18", stateless] }
        return [stateless]
    }

    @available(iOS 18, macOS 15, *)
    private func function(_ name: String) -> MLModelConfiguration {
        let configuration = MLModelConfiguration()
        configuration.computeUnits = units
        configuration.functionName = name
        return configuration
    }

    private func load(_ component: String, _ configuration: MLModelConfiguration) throws -> MLModel {
        do {
            return try MLModel(contentsOf: compiled(component), configuration: configuration)
        } catch let error as PocketCrafterError {
            throw error
        } catch {
            throw PocketCrafterError.runner("Core ML cannot load `\(component)`: \(error.localizedDescription)")
        }
    }

    /// The compiled model of a component; compiled the first time.
    private func compiled(_ component: String) throws -> URL {
        let place = folder.appendingPathComponent("\(component).mlmodelc")
        if FileManager.default.fileExists(atPath: place.path) { return place }
        let package = try bundle.artifact(component, kind: kind)
        let made = try blocking { try await MLModel.compileModel(at: package) }
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        do {
            try FileManager.default.moveItem(at: made, to: place)
        } catch {
            // Another task may have compiled the same meanwhile.
            guard FileManager.default.fileExists(atPath: place.path) else { throw error }
            try? FileManager.default.removeItem(at: made)
        }
        return place
    }
}

/// One model; not to be run from two threads at once.
private final class CoreMLRunner: Runner {
    private let model: MLModel
    private let component: Component

    init(_ model: MLModel, _ component: Component) {
        self.model = model
        self.component = component
    }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        let names = Set(model.modelDescription.inputDescriptionsByName.keys)
        var features: [String: MLMultiArray] = [:]
        var caches: [String: [Float]] = [:]
        for (spec, values) in zip(component.inputs, try component.inOrder(inputs)) {
            if names.contains(spec.name) {
                features[spec.name] = MLMultiArray(MLShapedArray(scalars: values, shape: spec.shape))
            } else {
                caches[spec.name] = values
            }
        }
        return try calling {
            let provider = try MLDictionaryFeatureProvider(dictionary: features)
            return try floats(outputs(provider, caches), component.outputs.map(\.name))
        }
    }

    /// Runs the model; what is no input of it is its state.
    private func outputs(_ provider: any MLFeatureProvider, _ caches: [String: [Float]]) throws -> any MLFeatureProvider {
        guard #available(iOS 18, macOS 15, *), !caches.isEmpty else { return try model.prediction(from: provider) }
        let state = model.makeState()
        for (name, values) in caches {
            // A state may be of 16-bit floats: number by number.
            state.withMultiArray(for: name) { array in for (n, value) in values.enumerated() { array[n] = NSNumber(value: value) } }
        }
        return try model.prediction(from: provider, using: state)
    }
}

/// A decoder whose caches are Core ML's state: `prefill` reads a whole prompt at once, `decode` one position.
@available(iOS 18, macOS 15, *)
private final class CoreMLDecoder: Decoder {
    private static let prefillRows = 32

    private let decode: MLModel
    private let prefill: MLModel
    private var state: MLState
    private var taken = 0

    init(decode: MLModel, prefill: MLModel) {
        self.decode = decode
        self.prefill = prefill
        state = decode.makeState()
    }

    func begin() {
        state = decode.makeState()
        taken = 0
    }

    func read(_ inputs: [DecoderInput], check: () throws -> Void) throws -> [Float] {
        guard taken + inputs.count <= Constants.proseLength else {
            throw PocketCrafterError.prose("A critique has \(Constants.proseLength) positions at most.")
        }
        if taken == 0, inputs.count > 1, inputs.count <= Self.prefillRows {
            try check()
            return try readPrompt(inputs)
        }
        var logits: [Float] = []
        for input in inputs {
            try check()
            logits = try predict(decode, [input], rows: 1, state)
            taken += 1
        }
        return logits
    }

    private func readPrompt(_ inputs: [DecoderInput]) throws -> [Float] {
        let prompt = prefill.makeState()
        let logits = try predict(prefill, inputs, rows: Self.prefillRows, prompt)
        // A state belongs to the model that made it: what the prompt left is copied once.
        for layer in 0..<Constants.proseLayers {
            for name in ["keys_\(layer)", "values_\(layer)"] {
                prompt.withMultiArray(for: name) { from in state.withMultiArray(for: name) { from.transfer(to: $0) } }
            }
        }
        taken = inputs.count
        let last = (inputs.count - 1) * Constants.proseWords
        return Array(logits[last..<last + Constants.proseWords])
    }

    /// Reads positions; rows that are left over have no position, and leave the caches as they are.
    private func predict(_ model: MLModel, _ inputs: [DecoderInput], rows: Int, _ state: MLState) throws -> [Float] {
        let spare = rows - inputs.count
        let positions = inputs.indices.flatMap { oneHot(taken + $0, Constants.proseLength) }
        let features = [
            "word": (inputs.flatMap(\.word) + zeros(spare * Constants.proseWords), Constants.proseWords),
            "soft": (inputs.flatMap(\.soft) + zeros(spare * Constants.tokenDim), Constants.tokenDim),
            "position": (positions + zeros(spare * Constants.proseLength), Constants.proseLength),
        ].mapValues { MLMultiArray(MLShapedArray(scalars: $0.0, shape: [rows, $0.1])) }
        return try calling {
            let provider = try MLDictionaryFeatureProvider(dictionary: features)
            let outputs = try model.prediction(from: provider, using: state)
            return try floats(outputs, ["logits"]).output("logits", count: rows * Constants.proseWords, of: "decoder")
        }
    }
}

private func floats(_ outputs: any MLFeatureProvider, _ names: [String]) throws -> [String: [Float]] {
    var found: [String: [Float]] = [:]
    for name in names {
        guard let array = outputs.featureValue(for: name)?.multiArrayValue else {
            throw PocketCrafterError.runner("Core ML gave no tensor `\(name)`.")
        }
        // Core ML may give 16-bit floats, and rows with gaps between them.
        found[name] = MLShapedArray<Float>(converting: array).scalars
    }
    return found
}

private func calling<T>(_ work: () throws -> T) throws -> T {
    do {
        return try work()
    } catch let error as PocketCrafterError {
        throw error
    } catch {
        throw PocketCrafterError.runner("Core ML failed: \(error.localizedDescription)")
    }
}

private extension MLComputeUnits {
    var words: String {
        switch self {
        case .cpuOnly: "CPU"
        case .cpuAndGPU: "CPU and GPU"
        case .cpuAndNeuralEngine: "CPU and Neural Engine"
        case .all: "all units"
        @unknown default: "unknown units"
        }
    }
}
#endif
