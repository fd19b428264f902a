import Foundation
import PocketCrafterCore

/// What a device is; nothing that tells one of a kind from another.
public struct DeviceFacts: Equatable, Sendable {
    /// Such as `iPhone17,1`.
    public let model: String
    /// The chip, as far as the system names it.
    public let soc: String
    /// Such as `Version 18.1 (Build 22B83)`.
    public let system: String
    /// The processor's architecture as the kernel calls it.
    public let machine: String

    /// The facts of the device that this runs on.
    public init() {
        var facts = utsname()
        uname(&facts)
        let machine = withUnsafeBytes(of: &facts.machine) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        #if os(Linux)
        (model, self.machine) = ("a computer", machine)
        #else
        (model, self.machine) = (machine, "arm64")
        #endif
        // Apple's systems name the device, which has one chip.
        soc = machine
        system = ProcessInfo.processInfo.operatingSystemVersionString
    }

    var json: [String: Any] { ["model": model, "soc": soc, "system": system, "machine": machine] }
}

/// Rung 4 of the parity ladder: the goldens, run on this device by this engine.
public struct GoldenReport: Sendable {
    /// What each network reached.
    public let runs: [GoldenRun]
    /// The report as `pocketcrafter device goldens` writes its own.
    public let json: String

    /// Whether every network reached its gate; `nil` where none missed it, but one has a gate of another figure.
    public var passed: Bool? {
        runs.contains { $0.passed == false } ? false : runs.allSatisfy { $0.passed == true } ? true : nil
    }

    init(_ manifest: Manifest, _ runners: any RunnerSource, _ facts: DeviceFacts, _ runs: [GoldenRun]) {
        self.runs = runs
        let how = "the full-precision goldens, on \(facts.model) (\(facts.soc)) by \(runners.engine)"
        json = jsonText([
            "schema_version": 1, "bundle": manifest.name, "manifest_sha256": manifest.sha256,
            "target": manifest.targetName(runners), "device": facts.json, "started": now(),
            "goldens": runs.map { Self.golden($0, how) },
        ])
    }

    private static func golden(_ run: GoldenRun, _ how: String) -> [String: Any] {
        let fidelity: [[String: Any]] = run.fidelity.map {
            ["output": $0.output, "sqnr_db": orNull($0.sqnrDb), "cosine": $0.cosine, "max_abs_error": $0.maxAbsError]
        }
        let gates: [[String: Any]] = run.gateDb.map { [["metric": "sqnr-db", "minimum": $0]] } ?? []
        let rung: [String: Any] = [
            "rung": 4, "passed": orNull(run.passed), "how": how, "gates": gates, "fidelity": fidelity,
        ]
        return ["component": run.component, "against_host": [Any](), "against_golden": fidelity, "rung": rung]
    }
}

extension Manifest {
    /// The name of the target that some runners open.
    func targetName(_ runners: any RunnerSource) -> String {
        targets.first { $0.kind == runners.kind }?.name ?? runners.kind
    }
}

/// A value, or JSON's null.
func orNull(_ value: Any?) -> Any { value ?? NSNull() }

/// JSON of texts, numbers, and lists and objects of them.
func jsonText(_ value: [String: Any]) -> String {
    let content = try? JSONSerialization.data(withJSONObject: value, options: [.prettyPrinted, .sortedKeys])
    return String(decoding: content ?? Data(), as: UTF8.self)
}

/// The time in UTC, ISO 8601.
func now() -> String { Date().ISO8601Format() }
