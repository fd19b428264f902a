import CoreMLRunner
import Foundation
import PocketCrafterKit
import SwiftUI

/// Runs the bundle's goldens on this phone: rung 4 of the parity ladder. It does so by itself on the first launch.
struct GoldensScreen: View {
    @AppStorage("goldensHaveRun") private var haveRun = false
    @State private var report: RungReport?
    @State private var failure: String?
    @State private var isRunning = false

    var body: some View {
        NavigationStack {
            List {
                if isRunning { ProgressView { Text("Running the goldens") } }
                if let failure { Label(failure, systemImage: "exclamationmark.triangle") }
                ForEach(report?.networks ?? [], id: \.component) { run in
                    VStack(alignment: .leading) {
                        Label(run.component, systemImage: run.passed == true ? "checkmark.circle" : "xmark.circle")
                        ForEach(run.fidelity, id: \.output) { Text($0.words).font(.caption) }
                    }
                    .accessibilityElement(children: .combine)
                }
            }
            .navigationTitle("Goldens")
            .toolbar {
                if let text = report?.json { ShareLink(item: text) }
                Button { Task { await run() } } label: { Text("Run") }.disabled(isRunning)
            }
            .task { if !haveRun { await run() } }
        }
    }

    private func run() async {
        isRunning = true
        defer { isRunning = false }
        do {
            let folder = try await BundleStore.folder { _ in }
            report = try await Task.detached(priority: .userInitiated) { try RungReport(folder) }.value
            haveRun = true
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

private extension Fidelity {
    var words: String { sqnrDb.map { "\(output): \(String(format: "%.1f", $0)) dB" } ?? "\(output): identical" }
}
