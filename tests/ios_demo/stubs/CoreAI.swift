// Declarations of Core AI that CoreAIRunner uses, for type-checking on Linux; they do nothing. The framework's `Span` is
// of Swift 6.2, and stands here for itself.
@_exported import Foundation

public struct Span<Element> {}
public struct NDArray: Sendable {
    public enum ScalarType: Sendable { case float32 }
    public init<Scalar: BitwiseCopyable>(scalars: some Sequence<Scalar>, shape: [Int]) {}
    public var shape: [Int] { [] }
    public var scalarType: ScalarType { .float32 }
    public func view<T: BitwiseCopyable>(as type: T.Type = T.self) -> View<T> { View() }
    public struct View<Element: BitwiseCopyable> {
        public var isContiguous: Bool { true }
        public func withUnsafePointer<R, E: Error>(
            _ body: (UnsafePointer<Element>, Span<Int>, Span<Int>) throws(E) -> R
        ) throws(E) -> R { try withUnsafePointer(body) }
    }
}
public struct InferenceValue { public var ndArray: NDArray? { nil } }
public struct InferenceFunction: Sendable {
    public struct MutableViews { public init() {} }
    public struct Outputs { public mutating func remove(_ name: String) -> InferenceValue? { nil } }
    public func run(
        inputs: [String: NDArray], states: consuming MutableViews = MutableViews(),
        outputViews: consuming MutableViews = MutableViews()
    ) async throws -> Outputs { Outputs() }
}
public struct SpecializationOptions: Sendable { public static var `default`: SpecializationOptions { .init() } }
public struct AIModel: Sendable {
    public init(contentsOf modelURL: URL, options: SpecializationOptions = .default) async throws {}
    public func loadFunction(named functionName: String) throws -> InferenceFunction? { nil }
}
