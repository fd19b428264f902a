import BackgroundAssets
import Foundation
import System

/// Where the bundle lies on this phone: in the app, or fetched from the App Store: as an asset pack (from iOS 26 on), or as
/// an on-demand resource.
enum BundleStore {
    private static let name = "default"
    private static let suffix = "pcbundle"
    /// Of the asset pack, and of the on-demand resource.
    private static let tag = "bundle"
    /// iOS may delete an on-demand resource that no request holds: these are held for the app's life.
    @MainActor private static var held: [NSBundleResourceRequest] = []

    /// Returns the bundle's folder; fetches it the first time.
    ///
    /// - Parameter progress: told the fraction that was fetched, in [0, 1].
    /// - Throws: what the App Store's download throws, and `CocoaError` where the app was built without a bundle.
    @MainActor
    static func folder(progress: @escaping @MainActor (Double) -> Void) async throws -> URL {
        if let inside { return inside }
        guard #available(iOS 26, *) else { return try await onDemandResource(progress) }
        do {
            return try await assetPack(progress)
        } catch {
            // An app that was built with the on-demand resource has no asset pack.
            if let folder = try? await onDemandResource(progress) { return folder }
            throw error
        }
    }

    private static var inside: URL? { Bundle.main.url(forResource: name, withExtension: suffix) }

    @available(iOS 26, *)
    @MainActor
    private static func assetPack(_ progress: @escaping @MainActor (Double) -> Void) async throws -> URL {
        let manager = AssetPackManager.shared
        let watching = Task { @MainActor in
            for await update in await manager.statusUpdates(forAssetPackWithID: tag) {
                if case .downloading(_, let done) = update { progress(done.fractionCompleted) }
            }
        }
        defer { watching.cancel() }
        try await manager.ensureLocalAvailability(of: manager.assetPack(withID: tag))
        // Not to be kept beyond this process.
        return try manager.url(for: FilePath("\(name).\(suffix)"))
    }

    @MainActor
    private static func onDemandResource(_ progress: @escaping @MainActor (Double) -> Void) async throws -> URL {
        let request = NSBundleResourceRequest(tags: [tag])
        request.loadingPriority = NSBundleResourceRequestLoadingPriorityUrgent
        let watching = Task { @MainActor in
            while !Task.isCancelled {
                progress(request.progress.fractionCompleted)
                try? await Task.sleep(nanoseconds: 100_000_000)
            }
        }
        defer { watching.cancel() }
        try await request.beginAccessingResources()
        held.append(request)
        guard let inside else { throw CocoaError(.fileNoSuchFile) }
        return inside
    }
}
