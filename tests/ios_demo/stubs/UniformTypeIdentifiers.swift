// Declarations of Uniform Type Identifiers that the app uses, for type-checking on Linux; they do nothing.
public struct UTType: Sendable {
    public static var heic: UTType { UTType() }
    public var identifier: String { "" }
}
