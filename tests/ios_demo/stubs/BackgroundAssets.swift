// Declarations of Background Assets that the app uses, for type-checking on Linux; they do nothing.
@_exported import Foundation
import System

public struct AssetPack: Sendable {}

public actor AssetPackManager {
    public enum DownloadStatusUpdate: Sendable {
        case began(AssetPack)
        case paused(AssetPack)
        case downloading(AssetPack, Progress)
        case finished(AssetPack)
        case failed(AssetPack, any Error)
    }

    public static let shared = AssetPackManager()
    public func assetPack(withID assetPackIdentifier: String) async throws -> AssetPack { AssetPack() }
    public func ensureLocalAvailability(of assetPack: AssetPack) async throws {}
    public func statusUpdates(forAssetPackWithID assetPackIdentifier: String) -> AsyncStream<DownloadStatusUpdate> {
        AsyncStream { $0.finish() }
    }
    public nonisolated func url(for path: FilePath) throws -> URL { URL(fileURLWithPath: "/") }
}
