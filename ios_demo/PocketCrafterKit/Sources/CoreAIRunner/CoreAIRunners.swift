#if canImport(CoreAI)
import CoreAI
import Foundation
import PocketCrafterCore

/// Runs a bundle's Core AI target (iOS 27).
///
/// Core AI specializes a model for this device when it is first opened, and keeps what it made.
@available(iOS 27, macOS 27, *)
public struct CoreAIRunners: RunnerSource {
    private let bundle: PocketBundle

    public let engine = "Core AI"
    public let kind = "coreai:ios27"

    /// - Parameter bundle: where the artifacts come from, each hashed before it is opened.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if the bundle has no Core AI target.
    public init(_ bundle: PocketBundle) throws {
        guard bundle.has(kind: kind) else {
            throw PocketCrafterError.bundle("The bundle has no target `\(kind)`: build it with one.")
        }
        self.bundle = bundle
    }

    public func open(_ component: String) throws -> any Runner {
        try open(component, named: nil, try bundle.manifest.component(component))
    }

    public func open(_ component: String, function: String) throws -> any Runner {
        try open(component, named: function, try bundle.manifest.component(component).function(function))
    }

    /// The function that is a component's contract; an asset may have others beside it.
    private static let main = "main"

    private func open(_ component: String, named name: String?, _ contract: Component) throws -> any Runner {
        let asset = try bundle.artifact(component, kind: kind)
        return try calling {
            let function = try blocking { try await AIModel(contentsOf: asset).loadFunction(named: name ?? Self.main) }
            guard let function else {
                throw PocketCrafterError.runner("`\(component)` has no function `\(name ?? Self.main)`.")
            }
            return CoreAIRunner(function, contract)
        }
    }
}

@available(iOS 27, macOS 27, *)
private final class CoreAIRunner: Runner {
    private let function: InferenceFunction
    private let component: Component

    init(_ function: InferenceFunction, _ component: Component) {
        self.function = function
        self.component = component
    }

    func run(_ inputs: [String: [Float]]) throws -> [String: [Float]] {
        let values = try component.inOrder(inputs)
        let (function, component) = (function, component)
        return try calling {
            try blocking {
                var arrays: [String: NDArray] = [:]
                for (spec, value) in zip(component.inputs, values) {
                    arrays[spec.name] = NDArray(scalars: value, shape: spec.shape)
                }
                var outputs = try await function.run(inputs: arrays)
                var found: [String: [Float]] = [:]
                for spec in component.outputs {
                    guard let array = outputs.remove(spec.name)?.ndArray else {
                        throw PocketCrafterError.runner("Core AI gave no tensor `\(spec.name)`.")
                    }
                    found[spec.name] = try floats(array, spec)
                }
                return found
            }
        }
    }
}

/// The values of an array of float32, row by row.
@available(iOS 27, macOS 27, *)
private func floats(_ array: NDArray, _ spec: TensorSpec) throws -> [Float] {
    guard array.scalarType == .float32, array.shape == spec.shape else {
        throw PocketCrafterError.runner("Core AI gave `\(spec.name)` in another type or shape than \(spec.shape).")
    }
    let view = array.view(as: Float.self)
    guard view.isContiguous else {
        throw PocketCrafterError.runner("Core AI gave `\(spec.name)` in a layout that is not read here.")
    }
    return view.withUnsafePointer { pointer, _, _ in Array(UnsafeBufferPointer(start: pointer, count: spec.count)) }
}

private func calling<T>(_ work: () throws -> T) throws -> T {
    do {
        return try work()
    } catch let error as PocketCrafterError {
        throw error
    } catch {
        throw PocketCrafterError.runner("Core AI failed: \(error.localizedDescription)")
    }
}
#endif
