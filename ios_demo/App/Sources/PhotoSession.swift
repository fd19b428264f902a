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
    /// The plan that the sliders show; the artist's own at first.
    var plan = EditPlan()
    /// Factor on that plan and on what the tone network adds to it, in [0, 2].
    var strength = 1.0

    /// What is shown and saved: the plan and the tone grid at the strength of the slider.
    var shown: (plan: EditPlan, grid: ToneGrid?) {
        ((try? plan.scaled(by: strength)) ?? plan, (try? enhanced?.grid?.blended(strength)) ?? enhanced?.grid)
    }

    private var crafter: PocketCrafter?
    private var work: Task<Void, Never>?

    /// Opens the bundle: hashes it, compiles its models the first time, and runs the critic once.
    func open() async {
        guard crafter == nil else { return }
        do {
            let folder = try await BundleStore.folder { self.fetched = $0 }
            fetched = nil
            let opened = PocketCrafter(folder) { try CoreMLRunners($0) }
            crafter = opened
            Task {
                for await state in opened.states { self.state = state }
            }
            try await opened.open()
        } catch {
            fetched = nil
            failure = error.localizedDescription
        }
    }

    /// Takes up another photo; work on the one before ends at its next tile or word.
    func show(_ content: Data) {
        work?.cancel()
        (photo, enhanced, critique, edited, failure, plan, strength) = (nil, nil, nil, nil, nil, EditPlan(), 1)
        work = Task { await edit(content) }
    }

    /// Goes back to the artist's own plan at full strength.
    func reset() { (plan, strength) = (enhanced?.plan ?? EditPlan(), 1) }

    /// Ends the work on the photo.
    func cancel() { work?.cancel() }

    /// Develops the photo at full size with the plan of the sliders and adds it to the library.
    func save() async {
        guard let photo, let enhanced else { return }
        let (plan, grid) = shown
        do {
            let content = try await Task.detached(priority: .userInitiated) {
                try photo.heic(Developer.develop(enhanced.restored, plan: plan, grid: grid))
            }.value
            try await PHPhotoLibrary.shared().performChanges {
                PHAssetCreationRequest.forAsset().addResource(with: .photo, data: content, options: nil)
            }
        } catch {
            failure = error.localizedDescription
        }
    }

    private func edit(_ content: Data) async {
        guard let crafter else { return }
        do {
            let photo = try await Task.detached(priority: .userInitiated) { try PhotoFile(content) }.value
            try Task.checkCancellation()
            self.photo = photo
            for try await progress in crafter.enhance(photo.pixels) {
                switch progress {
                case .steps(let done, let all): edited = Double(done) / Double(all)
                case .done(let enhanced):
                    edited = nil
                    self.enhanced = enhanced
                    reset()
                }
            }
            critique = try await crafter.prose(photo.pixels).text
        } catch is CancellationError {
            edited = nil
        } catch {
            edited = nil
            failure = error.localizedDescription
        }
    }
}
