// Declarations of System that the app uses, for type-checking on Linux; they do nothing.
public struct FilePath: Sendable { public init(_ string: String) {} }
