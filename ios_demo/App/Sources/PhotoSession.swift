import CoreMLRunner
import Foundation
import Observation
import Photos
import PocketCrafterKit

/// One photo and what was made of it; everything that the photo screen shows.
@MainActor
@Observable
final class PhotoSession {
    private(set) var state = CrafterState.cold
    /// The fraction of the bundle that was fetched, while it is.
    private(set) var fetched: Double?
    private(set) var photo: PhotoFile?
    private(set) var enhanced: Enhanced?
    private(set) var critique: String?
    /// The fraction of tiles, or of words and steps, that are done, while they are.
    private(set) var edited: Double?
    private(set) var failure: String?
    /// Whether the last attempt to fetch and open the bundle failed.
    private(set) var openingFailed = false
    /// The plan that the sliders show; the artist's own at first.
    var plan = EditPlan()
    /// Factor on that plan and on what the tone network adds to it, in [0, 2].
    var strength = 1.0

    /// What is shown and saved: the plan and the tone grid at the strength of the slider.
    var shown: (plan: EditPlan, grid: ToneGrid?) {
        ((try? plan.scaled(by: strength)) ?? plan, (try? enhanced?.grid?.blended(strength)) ?? enhanced?.grid)
    }

    private var crafter: PocketCrafter?
    /// The attempt to open the bundle that is being made.
    private var opening: Task<PocketCrafter, any Error>?
    private var work: Task<Void, Never>?

    /// Opens the bundle: fetches and hashes it, compiles its models the first time, and runs the critic once; tries again
    /// where that failed.
    func open() async {
        failure = nil
        do {
            _ = try await opened()
        } catch {
            failure = error.localizedDescription
        }
    }

    /// Takes up another photo; work on the one before ends at its next tile or word.
    ///
    /// - Parameter load: returns the photo's file; `nil` where there is none.
    func show(_ load: @escaping @MainActor () async throws -> Data?) {
        work?.cancel()
        (photo, enhanced, critique, edited, failure, plan, strength) = (nil, nil, nil, nil, nil, EditPlan(), 1)
        work = Task { await edit(load) }
    }

    /// Goes back to the artist's own plan at full strength.
    func reset() { (plan, strength) = (enhanced?.plan ?? EditPlan(), 1) }

    /// Ends the work on the photo.
    func cancel() {
        work?.cancel()
        edited = nil
    }

    /// Gives the memory of the networks back, once the present photo is done; they are opened again when they are needed.
    func release() async { await crafter?.release() }

    /// Develops the photo at full size with the plan of the sliders and adds it to the library.
    func save() async {
        guard let photo, let enhanced else { return }
        let (plan, grid) = shown
        failure = nil
        do {
            let content = try await Task.detached(priority: .userInitiated) {
                try photo.heic(Developer.develop(enhanced.restored, plan: plan, grid: grid))
            }.value
            try await PHPhotoLibrary.shared().performChanges { @Sendable in
                PHAssetCreationRequest.forAsset().addResource(with: .photo, data: content, options: nil)
            }
        } catch {
            failure = error.localizedDescription
        }
    }

    /// Returns the crafter, open; whoever asks while it is being opened waits for the same attempt.
    func opened() async throws -> PocketCrafter {
        if let opening { return try await opening.value }
        let attempt = Task {
            let opened = if let crafter { crafter } else { try await fetchedCrafter() }
            try await opened.open()
            return opened
        }
        (opening, openingFailed) = (attempt, false)
        defer { opening = nil }
        do {
            return try await attempt.value
        } catch {
            openingFailed = true
            throw error
        }
    }

    private func fetchedCrafter() async throws -> PocketCrafter {
        defer { fetched = nil }
        let folder = try await BundleStore.folder { self.fetched = $0 }
        let made = PocketCrafter(folder) { try CoreMLRunners($0) }
        crafter = made
        Task {
            for await state in made.states { self.state = state }
        }
        return made
    }

    /// Edits a photo once the bundle is open; what was cancelled changes nothing any more.
    private func edit(_ load: @MainActor () async throws -> Data?) async {
        do {
            guard let content = try await load() else {
                throw PocketCrafterError.config("This is no photo that can be read.")
            }
            let photo = try await Task.detached(priority: .userInitiated) { try PhotoFile(content) }.value
            let crafter = try await opened()
            try Task.checkCancellation()
            self.photo = photo
            for try await progress in crafter.enhance(photo.pixels) {
                try Task.checkCancellation()
                switch progress {
                case .steps(let done, let all): edited = Double(done) / Double(all)
                case .done(let enhanced):
                    edited = nil
                    self.enhanced = enhanced
                    reset()
                }
            }
            let told = try await crafter.prose(photo.pixels)
            try Task.checkCancellation()
            critique = told.text
        } catch {
            guard !Task.isCancelled else { return }
            edited = nil
            failure = error.localizedDescription
        }
    }
}
