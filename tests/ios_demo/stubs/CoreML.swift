// Declarations of Core ML that CoreMLRunner uses, for type-checking on Linux; they do nothing.
@_exported import Foundation

public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public class MLModelConfiguration: NSObject {
    public var computeUnits: MLComputeUnits = .all
    public var functionName: String?
}
public class MLMultiArray: NSObject {
    public convenience init<ShapedArray: MLShapedArrayProtocol>(_ shapedArray: ShapedArray) { self.init() }
    public func transfer(to destinationMultiArray: MLMultiArray) {}
    public subscript(idx: Int) -> NSNumber { get { 0 } set {} }
}
public class MLFeatureDescription: NSObject {}
public class MLModelDescription: NSObject {
    public var inputDescriptionsByName: [String: MLFeatureDescription] { [:] }
}
public protocol MLShapedArrayScalar {}
extension Float: MLShapedArrayScalar {}
public protocol MLShapedArrayProtocol { associatedtype Scalar: MLShapedArrayScalar }
public struct MLShapedArray<Scalar: MLShapedArrayScalar>: MLShapedArrayProtocol {
    public init(converting multiArray: MLMultiArray) {}
    public init<S: Sequence>(scalars: S, shape: [Int]) where Scalar == S.Element {}
    public var scalars: [Scalar] { [] }
}
public class MLFeatureValue: NSObject { public var multiArrayValue: MLMultiArray? { nil } }
public protocol MLFeatureProvider { func featureValue(for featureName: String) -> MLFeatureValue? }
public class MLDictionaryFeatureProvider: MLFeatureProvider {
    public init(dictionary: [String: Any]) throws {}
    public func featureValue(for featureName: String) -> MLFeatureValue? { nil }
}
public class MLState {
    public func withMultiArray<R>(for stateName: String, _ body: (MLMultiArray) throws -> R) rethrows -> R {
        try body(MLMultiArray())
    }
}
public class MLModel: NSObject {
    public convenience init(contentsOf url: URL, configuration: MLModelConfiguration) throws { self.init() }
    public class func compileModel(at modelURL: URL) async throws -> URL { modelURL }
    public var modelDescription: MLModelDescription { MLModelDescription() }
    public func makeState() -> MLState { MLState() }
    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { input }
    public func prediction(from inputFeatures: any MLFeatureProvider, using state: MLState) throws -> any MLFeatureProvider {
        inputFeatures
    }
}
