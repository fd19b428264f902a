import CoreMLRunner
import Foundation
import PocketCrafterKit
import SwiftUI

/// Times each network on this phone: cold, warm, and for a minute on end with the phone's thermal state.
struct BenchmarkScreen: View {
    @State private var report: BenchmarkReport?
    @State private var failure: String?
    @State private var running: String?
    @State private var work: Task<Void, Never>?

    var body: some View {
        NavigationStack {
            List {
                if let running { ProgressView { Text(running) } }
                if let failure { Label(failure, systemImage: "exclamationmark.triangle") }
                ForEach(report?.cases ?? [], id: \.component) { one in
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
        running = ""
        defer { running = nil }
        do {
            let folder = try await BundleStore.folder { _ in }
            let bundle = try PocketBundle(folder)
            var cases: [BenchmarkCase] = []
            for component in bundle.manifest.components {
                running = component.name
                let timed = Task.detached(priority: .userInitiated) { try BenchmarkCase(bundle, component) }
                cases.append(try await withTaskCancellationHandler { try await timed.value } onCancel: { timed.cancel() })
                report = BenchmarkReport(bundle: bundle.manifest.name, device: DeviceFacts(), cases: cases)
            }
        } catch is CancellationError {
            // What was timed so far stays.
        } catch {
            failure = error.localizedDescription
        }
    }
}

/// Everything that the screen found; its names are those of `pocketcrafter bench latency`, as far as both have them.
struct BenchmarkReport: Encodable, Sendable {
    let bundle: String
    let device: DeviceFacts
    let cases: [BenchmarkCase]

    var json: String? { Report.json(self) }
}

/// One network.
struct BenchmarkCase: Encodable, Sendable {
    private static let warmRuns = 30
    private static let sustainedSeconds = 60.0

    let component: String
    let runner: String
    let loadMs: Double
    let firstMs: Double
    let warmMs: [Double]
    let sustained: [SustainedPoint]
    let peakRssMib: Double

    /// One window of the sustained run.
    struct SustainedPoint: Encodable, Sendable {
        /// End of the window since the start.
        let seconds: Double
        let medianMs: Double
        /// 0 nominal, 1 fair, 2 serious, 3 critical.
        let thermalState: Int
        let rssMib: Double
    }

    /// Times a network on the inputs of its first golden; ends where its task is cancelled.
    ///
    /// - Throws: as a ``Runner`` does, and `CancellationError`.
    init(_ bundle: PocketBundle, _ component: Component) throws {
        let inputs = try Goldens.inputs(bundle, component)
        let runners = try CoreMLRunners(bundle)
        let (opened, load) = try Self.timed { try runners.open(component.name) }
        let once = { _ = try opened.run(inputs) }
        let (_, first) = try Self.timed(once)
        var peak = residentMib()
        let warm = try (0..<Self.warmRuns).map { _ in try Self.timed(once).ms }
        var points: [SustainedPoint] = []
        let started = Date()
        while Date().timeIntervalSince(started) < Self.sustainedSeconds {
            try Task.checkCancellation()
            let window = try (0..<Self.warmRuns).map { _ in try Self.timed(once).ms }.sorted()
            peak = max(peak, residentMib())
            points.append(
                SustainedPoint(
                    seconds: Date().timeIntervalSince(started), medianMs: window[window.count / 2],
                    thermalState: Self.thermalState, rssMib: residentMib()))
        }
        self.component = component.name
        runner = runners.kind
        loadMs = load
        firstMs = first
        warmMs = warm
        sustained = points
        peakRssMib = peak
    }

    var words: String {
        let median = warmMs.sorted()[warmMs.count / 2]
        return String(format: "%.0f ms load, %.1f ms first, %.2f ms warm, %.0f MiB", loadMs, firstMs, median, peakRssMib)
    }

    private static var thermalState: Int {
        #if os(iOS)
        ProcessInfo.processInfo.thermalState.rawValue
        #else
        0
        #endif
    }

    private static func timed<T>(_ work: () throws -> T) rethrows -> (result: T, ms: Double) {
        let started = DispatchTime.now().uptimeNanoseconds
        let result = try work()
        return (result, Double(DispatchTime.now().uptimeNanoseconds - started) / 1e6)
    }
}
