import Foundation

/// Every error that this package raises on purpose; its message says what was wrong, and where.
public enum PocketCrafterError: Error, Equatable, Sendable {
    /// A bundle is damaged, incomplete, or not what its manifest says.
    case bundle(String)
    /// A runner is missing, or a network failed or gave numbers that are none.
    case runner(String)
    /// Two arrays that must have one shape do not.
    case shape(String)
    /// An argument is out of its range.
    case config(String)
    /// A critique's text is not one.
    case prose(String)

    /// What was wrong, and where.
    public var message: String {
        switch self {
        case .bundle(let message), .runner(let message), .shape(let message), .config(let message), .prose(let message):
            message
        }
    }
}

extension PocketCrafterError: LocalizedError {
    public var errorDescription: String? { message }
}
