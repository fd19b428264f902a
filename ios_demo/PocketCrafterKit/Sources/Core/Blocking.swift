import Foundation

/// Waits for asynchronous work on a thread that may wait: never one of Swift's own, which are few.
///
/// - Throws: what the work throws.
package func blocking<T: Sendable>(_ work: @escaping @Sendable () async throws -> T) throws -> T {
    let box = ResultBox<T>()
    let done = DispatchSemaphore(value: 0)
    Task.detached(priority: .userInitiated) {
        do {
            box.value = .success(try await work())
        } catch {
            box.value = .failure(error)
        }
        done.signal()
    }
    done.wait()
    return try box.value.get()
}

private final class ResultBox<T: Sendable>: @unchecked Sendable {
    // Written before the semaphore is signalled, read after it was waited for.
    var value: Result<T, any Error> = .failure(CancellationError())
}
