import Foundation

/// Where the bundle lies on this phone: in the app, or fetched from the App Store as an on-demand resource.
enum BundleStore {
    private static let name = "default"
    private static let suffix = "pcbundle"
    private static let tag = "bundle"

    /// Returns the bundle's folder; fetches it the first time.
    ///
    /// - Parameter progress: told the fraction that was fetched, in [0, 1].
    /// - Throws: what the App Store's download throws, and `CocoaError` where the app was built without a bundle.
    @MainActor
    static func folder(progress: @escaping @MainActor (Double) -> Void) async throws -> URL {
        if let inside = Bundle.main.url(forResource: name, withExtension: suffix) { return inside }
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
        guard let fetched = Bundle.main.url(forResource: name, withExtension: suffix) else {
            throw CocoaError(.fileNoSuchFile)
        }
        return fetched
    }
}
