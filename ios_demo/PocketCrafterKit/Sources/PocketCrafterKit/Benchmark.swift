import Foundation
import PocketCrafterCore

/// How often, and how long, ``PocketCrafter/benchmark(_:_:progress:)`` measures.
public struct BenchmarkPlan: Equatable, Sendable {
    /// Timed runs of each network, ≥ 1.
    public let repeats: Int
    /// How long each network then runs without a pause; 0 leaves that out.
    public let sustainedSeconds: Int
    /// The length of one point of that curve, ≥ 1.
    public let windowSeconds: Int

    public init(repeats: Int = 30, sustainedSeconds: Int = 60, windowSeconds: Int = 10) {
        (self.repeats, self.sustainedSeconds, self.windowSeconds) = (repeats, sustainedSeconds, windowSeconds)
    }
}

/// The speed of one network, in milliseconds.
public struct NetworkSpeed: Sendable {
    public let component: String
    public let precision: String
    /// Opening it.
    public let loadMs: Double
    /// The first inference.
    public let firstMs: Double
    /// Warm inferences, in the order they were taken.
    public let samplesMs: [Double]
    /// Mean CPU time of a warm inference, over all threads.
    public let cpuMs: Double
    /// Memory of the app before, in MiB.
    public let baseMib: Double
    /// The most memory of the app that was seen, in MiB.
    public let peakMib: Double
    /// The worst output against the golden, in dB; `nil` where all are identical.
    public let sqnrDb: Double?
    /// Windows of the run without a pause.
    public let sustained: [Window]

    /// The median of the warm runs.
    public var medianMs: Double { quantile(samplesMs, 0.5) }

    /// A part of the run without a pause.
    public struct Window: Sendable {
        /// Its end since the start.
        public let seconds: Double
        public let inferences: Int
        public let medianMs: Double
        /// Memory of the app, in MiB.
        public let mib: Double
        public let thermalState: ThermalState
    }
}

/// How warm the system says it is; it tells no temperature.
public enum ThermalState: Int, Comparable, Sendable {
    case nominal, fair, serious, critical

    /// In words that do not depend on the language of the phone.
    public var name: String { String(describing: self) }

    static var current: ThermalState {
        #if os(Linux)
        .nominal
        #else
        ThermalState(rawValue: ProcessInfo.processInfo.thermalState.rawValue) ?? .nominal
        #endif
    }

    public static func < (one: ThermalState, other: ThermalState) -> Bool { one.rawValue < other.rawValue }
}

/// What a benchmark found.
public struct BenchmarkReport: Sendable {
    public let networks: [NetworkSpeed]
    /// The report as `pocketcrafter bench latency --json` writes its own, and `bench compare` reads it.
    public let json: String
}

/// Times networks on the inputs of their first goldens.
struct Benchmark {
    private static let noiseLimit = 0.2
    private static let smallestMs = 1e-3

    private let bundle: PocketBundle
    private let runners: any RunnerSource
    private let plan: BenchmarkPlan
    private let facts: DeviceFacts
    private let target: String

    init(_ bundle: PocketBundle, _ runners: any RunnerSource, _ plan: BenchmarkPlan, _ facts: DeviceFacts) {
        (self.bundle, self.runners, self.plan, self.facts) = (bundle, runners, plan, facts)
        target = bundle.manifest.targetName(runners)
    }

    /// - Parameter tick: told of what is measured before every run; what it throws ends the work.
    func run(_ tick: (_ component: String) throws -> Void) throws -> BenchmarkReport {
        guard plan.repeats >= 1, plan.windowSeconds >= 1 else {
            throw PocketCrafterError.config("Nothing can be measured by \(plan).")
        }
        let (started, load) = (now(), ThisProcess.load())
        let networks = try bundle.manifest.components.map { component in try measured(component) { try tick(component.name) } }
        return BenchmarkReport(networks: networks, json: jsonText(report(networks, started, load)))
    }

    private func measured(_ component: Component, _ tick: () throws -> Void) throws -> NetworkSpeed {
        let inputs = try Goldens.inputs(bundle, component)
        let base = ThisProcess.memoryMib()
        let (runner, loadMs) = try timed { try runners.open(component.name) }
        let (answer, firstMs) = try timed { try runner.run(inputs) }
        var peak = max(base, ThisProcess.memoryMib())
        let cpuStart = ThisProcess.cpuMs()
        let samples = try (0..<plan.repeats).map { _ in
            try tick()
            return try timed { try runner.run(inputs) }.ms
        }
        let cpuMs = (ThisProcess.cpuMs() - cpuStart) / Double(plan.repeats)
        let sustained = try sustained(runner, inputs, tick)
        peak = max(peak, ThisProcess.memoryMib(), sustained.map(\.mib).max() ?? 0)
        return NetworkSpeed(
            component: component.name, precision: component.precisions[target] ?? "", loadMs: loadMs, firstMs: firstMs,
            samplesMs: samples, cpuMs: max(cpuMs, Self.smallestMs), baseMib: base, peakMib: peak,
            sqnrDb: try Goldens.fidelity(bundle, component, inputs, answer).compactMap(\.sqnrDb).min(), sustained: sustained)
    }

    private func sustained(
        _ runner: any Runner, _ inputs: [String: [Float]], _ tick: () throws -> Void
    ) throws -> [NetworkSpeed.Window] {
        guard plan.sustainedSeconds >= plan.windowSeconds else { return [] }
        let start = DispatchTime.now().uptimeNanoseconds
        return try (1...plan.sustainedSeconds / plan.windowSeconds).map { window in
            var taken: [Double] = []
            while taken.isEmpty || seconds(since: start) < Double(window * plan.windowSeconds) {
                try tick()
                taken.append(try timed { try runner.run(inputs) }.ms)
            }
            return NetworkSpeed.Window(
                seconds: seconds(since: start), inferences: taken.count, medianMs: quantile(taken, 0.5),
                mib: ThisProcess.memoryMib(), thermalState: .current)
        }
    }

    private func report(_ networks: [NetworkSpeed], _ started: String, _ load: Double) -> [String: Any] {
        [
            "schema_version": 4, "bundle": bundle.manifest.name, "manifest_sha256": bundle.manifest.sha256,
            "machine": machine(networks, load), "started": started, "repeats": plan.repeats,
            "noise_limit": Self.noiseLimit, "cases": networks.map(self.case),
            "sustained": networks.filter { !$0.sustained.isEmpty }.map(curve),
        ]
    }

    private func machine(_ networks: [NetworkSpeed], _ load: Double) -> [String: Any] {
        let cores = ProcessInfo.processInfo.processorCount
        var tools = ["engine": runners.engine]
        // No phone of Apple's tells its temperature.
        tools["warmest thermal state"] = networks.flatMap(\.sustained).map(\.thermalState).max()?.name
        return [
            "cpu": "\(facts.model) (\(facts.soc))", "instruction_set": ThisProcess.instructionSet(), "cores": cores,
            "usable_cores": ProcessInfo.processInfo.activeProcessorCount,
            "ram_mib": Int(ProcessInfo.processInfo.physicalMemory >> 20), "system": facts.system, "tools": tools,
            "load_before": load,
        ]
    }

    private func `case`(_ speed: NetworkSpeed) -> [String: Any] {
        [
            "runner": target, "ours": true, "precision": speed.precision, "component": speed.component,
            "threads": runners.threads, "load_ms": [speed.loadMs], "first_ms": [speed.firstMs], "in_a_row": 1,
            "warm": timing(speed.samplesMs), "cpu_ms": speed.cpuMs, "base_rss_mib": speed.baseMib,
            "peak_rss_mib": speed.peakMib, "sqnr_db": orNull(speed.sqnrDb), "attempts": 1,
            "noisy": spread(speed.samplesMs) > Self.noiseLimit,
        ]
    }

    private func curve(_ speed: NetworkSpeed) -> [String: Any] {
        let points: [[String: Any]] = speed.sustained.map {
            [
                "seconds": $0.seconds, "inferences": $0.inferences, "median_ms": $0.medianMs, "rss_mib": $0.mib,
                "frequency_mhz": NSNull(), "temperature_celsius": NSNull(),
            ]
        }
        return ["runner": target, "component": speed.component, "threads": runners.threads, "points": points]
    }

    private func timing(_ samples: [Double]) -> [String: Any] {
        let interval = medianInterval(samples).map { ["low": $0.low, "high": $0.high] }
        return [
            "samples_ms": samples, "median_ms": quantile(samples, 0.5), "p90_ms": quantile(samples, 0.9),
            "p99_ms": quantile(samples, 0.99), "spread": spread(samples), "median_interval_ms": orNull(interval),
        ]
    }
}

private func timed<T>(_ work: () throws -> T) rethrows -> (result: T, ms: Double) {
    let start = DispatchTime.now().uptimeNanoseconds
    let result = try work()
    return (result, seconds(since: start) * 1e3)
}

private func seconds(since nanoseconds: UInt64) -> Double {
    Double(DispatchTime.now().uptimeNanoseconds - nanoseconds) / 1e9
}

/// A quantile by linear interpolation, as numpy has it.
private func quantile(_ samples: [Double], _ share: Double) -> Double {
    let ordered = samples.sorted()
    let place = share * Double(ordered.count - 1)
    let (below, above) = (Int(place), min(Int(place) + 1, ordered.count - 1))
    return ordered[below] + (place - Double(below)) * (ordered[above] - ordered[below])
}

private func spread(_ samples: [Double]) -> Double {
    (quantile(samples, 0.9) - quantile(samples, 0.1)) / quantile(samples, 0.5)
}

/// The 95 % interval of the median by order statistics; `nil` for fewer than six samples.
private func medianInterval(_ samples: [Double]) -> (low: Double, high: Double)? {
    let ordered = samples.sorted()
    var (missed, ways, k) = (0.0, pow(0.5, Double(ordered.count)), 0)
    while k < ordered.count / 2 {
        missed += ways
        if 2 * missed > 0.05 { break }
        ways *= Double(ordered.count - k) / Double(k + 1)
        k += 1
    }
    return k == 0 ? nil : (ordered[k - 1], ordered[ordered.count - k])
}

/// What the system says of this process and its processor.
private enum ThisProcess {
    /// CPU time so far, over all threads.
    static func cpuMs() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) / 1e6
    }

    /// Mean number of busy or waiting processes in the minute before; 0 where it is not told.
    static func load() -> Double {
        var load = 0.0
        return getloadavg(&load, 1) == 1 ? load : 0
    }

    #if canImport(Darwin)
    /// What iOS counts against the app's limit; 0 where it cannot be read.
    static func memoryMib() -> Double {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<natural_t>.size)
        let result = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) {
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), $0, &count)
            }
        }
        return result == KERN_SUCCESS ? Double(info.phys_footprint) / 1_048_576 : 0
    }

    /// The instructions that multiply integers, the most capable first.
    static func instructionSet() -> String {
        let known = [
            ("hw.optional.arm.FEAT_I8MM", "NEON i8mm"), ("hw.optional.arm.FEAT_DotProd", "NEON dotprod"),
            ("hw.optional.AdvSIMD", "NEON"),
        ]
        return known.first { name, _ in
            var (value, size) = (Int32(0), MemoryLayout<Int32>.size)
            return sysctlbyname(name, &value, &size, nil, 0) == 0 && value == 1
        }?.1 ?? "unknown"
    }
    #else
    /// Resident memory; 0 where it cannot be read.
    static func memoryMib() -> Double {
        let line = lines("/proc/self/status").first { $0.hasPrefix("VmRSS:") }
        return (line.flatMap { Double($0.filter(\.isNumber)) } ?? 0) / 1024
    }

    /// The instructions that multiply integers, the most capable first.
    static func instructionSet() -> String {
        let known = [
            ("amx_int8", "AMX"), ("avx512_vnni", "AVX-512 VNNI"), ("avx_vnni", "AVX-VNNI"), ("avx512bw", "AVX-512"),
            ("avx2", "AVX2"), ("sse2", "SSE"), ("i8mm", "NEON i8mm"), ("asimddp", "NEON dotprod"), ("asimd", "NEON"),
        ]
        let line = lines("/proc/cpuinfo").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") } ?? ""
        let flags = Set(line.split(separator: " ").map(String.init))
        return known.first { flags.contains($0.0) }?.1 ?? "unknown"
    }

    private static func lines(_ path: String) -> [Substring] {
        ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n")
    }
    #endif
}
