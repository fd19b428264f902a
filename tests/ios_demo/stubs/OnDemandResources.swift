// Declarations of Foundation that it has on Apple's systems alone, for type-checking on Linux; they do nothing.
import Foundation

let NSBundleResourceRequestLoadingPriorityUrgent = 1.0

final class NSBundleResourceRequest: NSObject, @unchecked Sendable {
    init(tags: Set<String>) {}
    var loadingPriority: Double = 0
    let progress = Progress(totalUnitCount: 1)
    func beginAccessingResources() async throws {}
}
