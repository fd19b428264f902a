import Foundation
import Observation
import PocketCrafterKit
import SwiftUI

/// What the bundle's goldens gave on this phone: rung 4 of the parity ladder.
struct GoldensScreen: View {
    let session: GoldensSession
    let photos: PhotoSession

    var body: some View {
        NavigationStack {
            List {
                if session.isRunning { ProgressView { Text("Running the goldens") } }
                if let failure = session.failure { Label(failure, systemImage: "exclamationmark.triangle") }
                ForEach(session.report?.runs ?? [], id: \.component) { run in
                    VStack(alignment: .leading) {
                        Label(run.component, systemImage: run.symbol)
                        ForEach(run.fidelity, id: \.output) { Text($0.words).font(.caption) }
                    }
                    .accessibilityElement(children: .combine)
                }
            }
            .navigationTitle("Goldens")
            .toolbar {
                if let text = session.report?.json { ShareLink(item: text) }
                Button { Task { await session.run(photos) } } label: { Text("Run") }.disabled(session.isRunning)
            }
        }
    }
}

/// Runs the goldens: on the first launch, and when asked.
@MainActor
@Observable
final class GoldensSession {
    private static let haveRun = "goldensHaveRun"

    private(set) var report: GoldenReport?
    private(set) var failure: String?
    private(set) var isRunning = false

    /// Runs them unless they have run on this phone.
    func runOnce(_ photos: PhotoSession) async {
        if !UserDefaults.standard.bool(forKey: Self.haveRun) { await run(photos) }
    }

    func run(_ photos: PhotoSession) async {
        guard !isRunning else { return }
        (isRunning, failure) = (true, nil)
        defer { isRunning = false }
        do {
            report = try await photos.opened().goldens()
            UserDefaults.standard.set(true, forKey: Self.haveRun)
        } catch {
            failure = error.localizedDescription
        }
    }
}

private extension GoldenRun {
    /// A network whose gate asks for another figure has neither passed nor failed.
    var symbol: String { passed.map { $0 ? "checkmark.circle" : "xmark.circle" } ?? "minus.circle" }
}

private extension Fidelity {
    var words: String { sqnrDb.map { "\(output): \(String(format: "%.1f", $0)) dB" } ?? "\(output): identical" }
}
