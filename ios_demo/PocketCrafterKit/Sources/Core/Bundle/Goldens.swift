import Foundation

/// How close one output is to its reference.
public struct Fidelity: Equatable, Sendable {
    /// Its name; `<function>.<name>` of a further function.
    public let output: String
    /// Signal-to-quantization-noise ratio; `nil` where the two are identical. Of an output that mends an input, it and
    /// the cosine are of what is changed.
    public let sqnrDb: Double?
    /// Cosine of the two, in [-1, 1].
    public let cosine: Double
    /// The largest difference, in the output's unit.
    public let maxAbsError: Double

    private static let lowestDb = -1e3

    /// Compares two arrays.
    ///
    /// - Parameter mended: the input that the output is a changed copy of; the changes are compared.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if sizes differ, ``PocketCrafterError/runner(_:)`` if a value is
    ///   not finite.
    init(_ output: String, reference: [Float], actual: [Float], mended: [Float]? = nil) throws {
        guard reference.count == actual.count else {
            throw PocketCrafterError.shape("`\(output)` has \(actual.count) values, not \(reference.count).")
        }
        let before = mended ?? Array(repeating: 0, count: reference.count)
        guard before.count == reference.count else {
            throw PocketCrafterError.shape("`\(output)` mends \(before.count) values, not \(reference.count).")
        }
        guard actual.allSatisfy(\.isFinite) else {
            throw PocketCrafterError.runner("`\(output)` has values that are not finite.")
        }
        var signal = 0.0, noise = 0.0, worst = 0.0, other = 0.0, product = 0.0
        for n in reference.indices {
            let expected = Double(reference[n]) - Double(before[n])
            let found = Double(actual[n]) - Double(before[n])
            let difference = expected - found
            signal += expected * expected
            other += found * found
            product += expected * found
            noise += difference * difference
            worst = max(worst, abs(difference))
        }
        self.output = output
        maxAbsError = worst
        let lengths = signal.squareRoot() * other.squareRoot()
        cosine = lengths > 0 ? (product / lengths).clamped(to: -1...1) : signal == other ? 1 : 0
        sqnrDb = noise == 0 ? nil : signal == 0 ? Self.lowestDb : max(10 * log10(signal / noise), Self.lowestDb)
    }
}

/// A component's goldens, run again on this machine.
public struct GoldenRun: Equatable, Sendable {
    public let component: String
    /// What every output must reach; `nil` where the artifact's gate asks for another figure.
    public let gateDb: Double?
    public let fidelity: [Fidelity]

    /// Whether every output reaches the gate; `nil` where it asks for another figure.
    public var passed: Bool? {
        gateDb.map { gate in fidelity.allSatisfy { $0.sqnrDb.map { $0 >= gate } ?? true } }
    }
}

/// Goldens of a bundle: what its networks were recorded to answer. Running them is rung 4 of the parity ladder.
public enum Goldens {
    /// Runs the goldens of every component of a target.
    ///
    /// - Parameters:
    ///   - bundle: the bundle.
    ///   - runners: what runs its networks.
    ///   - kind: the target's kind, such as `onnx`.
    ///   - progress: called with components done and components in all; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if a file is damaged, ``PocketCrafterError/runner(_:)`` if a network
    ///   does not run here.
    public static func run(
        _ bundle: PocketBundle, _ runners: any RunnerSource, kind: String,
        progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> [GoldenRun] {
        guard let target = bundle.manifest.targets.first(where: { $0.kind == kind }) else {
            throw PocketCrafterError.bundle("The bundle has no target `\(kind)`.")
        }
        let components = bundle.manifest.components
        return try components.enumerated().map { n, component in
            func ran(_ part: Component, _ runner: any Runner, prefix: String = "") throws -> [Fidelity] {
                try part.goldens.flatMap { golden in
                    let inputs = try read(bundle, golden.inputs, part.inputs)
                    return try compared(bundle, part, golden, inputs, runner.run(inputs), prefix: prefix)
                }
            }
            var fidelity = try ran(component, runners.open(component.name))
            for (name, function) in component.functions.sorted(by: { $0.key < $1.key }) where !function.goldens.isEmpty {
                fidelity += try ran(function, runners.open(component.name, function: name), prefix: "\(name).")
            }
            try progress(n + 1, components.count)
            return GoldenRun(component: component.name, gateDb: component.gatesDb[target.name], fidelity: fidelity)
        }
    }

    /// The inputs of a component's first golden, for benchmarks.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if it has none, or the file is damaged.
    public static func inputs(_ bundle: PocketBundle, _ component: Component) throws -> [String: [Float]] {
        guard let golden = component.goldens.first else { throw none(component) }
        return try read(bundle, golden.inputs, component.inputs)
    }

    /// Compares an answer to ``inputs(_:_:)`` with the recorded one.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if there is none, or the file is damaged; as ``Fidelity`` otherwise.
    public static func fidelity(
        _ bundle: PocketBundle, _ component: Component, _ inputs: [String: [Float]], _ answer: [String: [Float]]
    ) throws -> [Fidelity] {
        guard let golden = component.goldens.first else { throw none(component) }
        return try compared(bundle, component, golden, inputs, answer)
    }

    private static func none(_ component: Component) -> PocketCrafterError { .bundle("`\(component.name)` has no golden.") }

    private static func compared(
        _ bundle: PocketBundle, _ component: Component, _ golden: Golden, _ inputs: [String: [Float]],
        _ found: [String: [Float]], prefix: String = ""
    ) throws -> [Fidelity] {
        let expected = try read(bundle, golden.outputs, component.outputs)
        return try component.outputs.map {
            try Fidelity(
                prefix + $0.name, reference: expected[$0.name] ?? [], actual: found[$0.name] ?? [],
                mended: $0.mends.map { inputs[$0] ?? [] })
        }
    }

    private static func read(_ bundle: PocketBundle, _ path: String, _ specs: [TensorSpec]) throws -> [String: [Float]] {
        let file = try bundle.file(path)
        guard let content = FileManager.default.contents(atPath: file.path) else {
            throw PocketCrafterError.bundle("`\(path)` cannot be read.")
        }
        return try Npz.read(content, specs)
    }
}
