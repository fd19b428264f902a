import PocketCrafterKit
import SwiftUI

/// Times each network on this phone: cold, warm, and for a minute on end with the phone's thermal state.
struct BenchmarkScreen: View {
    let session: PhotoSession
    @State private var report: BenchmarkReport?
    @State private var failure: String?
    @State private var running: String?
    @State private var work: Task<Void, Never>?

    var body: some View {
        NavigationStack {
            List {
                if let running { ProgressView { Text(running) } }
                if let failure { Label(failure, systemImage: "exclamationmark.triangle") }
                ForEach(report?.networks ?? [], id: \.component) { one in
                    VStack(alignment: .leading) {
                        Text(one.component).font(.headline)
                        Text(one.words).font(.caption)
                    }
                    .accessibilityElement(children: .combine)
                }
            }
            .navigationTitle("Benchmark")
            .toolbar {
                if let text = report?.json { ShareLink(item: text) }
                if running == nil {
                    Button { work = Task { await run() } } label: { Text("Run") }
                } else {
                    Button { work?.cancel() } label: { Text("Cancel") }
                }
            }
        }
    }

    private func run() async {
        (running, failure) = ("", nil)
        defer { running = nil }
        do {
            let crafter = try await session.opened()
            report = try await crafter.benchmark { component in
                Task { @MainActor in if running != nil { running = component } }
            }
        } catch is CancellationError {
            // What was shown before stays.
        } catch {
            failure = error.localizedDescription
        }
    }
}

private extension NetworkSpeed {
    var words: String {
        let speed = String(
            format: "%.0f ms load, %.1f ms first, %.2f ms warm, %.0f MiB", loadMs, firstMs, medianMs, peakMib)
        guard let last = sustained.last else { return speed }
        return speed + String(format: "; %.2f ms after a minute, ", last.medianMs) + last.thermalState.name
    }
}
