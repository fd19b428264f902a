import CoreMLRunner
import Foundation
import Observation
import PocketCrafterKit
import SwiftUI

/// What the bundle's goldens gave on this phone: rung 4 of the parity ladder.
struct GoldensScreen: View {
    let session: GoldensSession

    var body: some View {
        NavigationStack {
            List {
                if session.isRunning { ProgressView { Text("Running the goldens") } }
                if let failure = session.failure { Label(failure, systemImage: "exclamationmark.triangle") }
                ForEach(session.report?.networks ?? [], id: \.component) { run in
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
                Button { Task { await session.run() } } label: { Text("Run") }.disabled(session.isRunning)
            }
        }
    }
}

/// Runs the goldens: on the first launch, and when asked.
@MainActor
@Observable
final class GoldensSession {
    private static let haveRun = "goldensHaveRun"

    private(set) var report: RungReport?
    private(set) var failure: String?
    private(set) var isRunning = false

    /// Runs them unless they have run on this phone.
    func runOnce() async {
        if !UserDefaults.standard.bool(forKey: Self.haveRun) { await run() }
    }

    func run() async {
        guard !isRunning else { return }
        (isRunning, failure) = (true, nil)
        defer { isRunning = false }
        do {
            let folder = try await BundleStore.folder { _ in }
            report = try await Task.detached(priority: .userInitiated) { try RungReport(folder) }.value
            UserDefaults.standard.set(true, forKey: Self.haveRun)
        } catch {
            failure = error.localizedDescription
        }
    }
}

/// What rung 4 found on this phone.
struct RungReport: Encodable, Sendable {
    let rung = 4
    let bundle: String
    let target: String
    let engine: String
    let device: DeviceFacts
    let networks: [GoldenRun]

    /// - Throws: as ``Goldens/run(_:_:kind:progress:)``.
    init(_ folder: URL) throws {
        let opened = try PocketBundle(folder)
        let runners = try CoreMLRunners(opened)
        bundle = opened.manifest.name
        target = runners.kind
        engine = runners.engine
        device = DeviceFacts()
        networks = try Goldens.run(opened, runners, kind: runners.kind)
    }

    /// The report as JSON, keys in snake case as Python's.
    var json: String? { Report.json(self) }
}

private extension GoldenRun {
    /// A network whose gate asks for another figure has neither passed nor failed.
    var symbol: String { passed.map { $0 ? "checkmark.circle" : "xmark.circle" } ?? "minus.circle" }
}

private extension Fidelity {
    var words: String { sqnrDb.map { "\(output): \(String(format: "%.1f", $0)) dB" } ?? "\(output): identical" }
}
