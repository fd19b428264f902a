/// What became of a photo.
public struct Enhanced: Sendable {
    /// The very input where there was nothing to do.
    public let pixels: Pixels
    public let plan: EditPlan
    public let critique: Critique
    /// The photo before its tones were changed.
    public let restored: Pixels
    /// What changed tones beside the plan, `nil` where none were changed; with these two, ``Developer`` shows other plans.
    public let grid: ToneGrid?
}

/// A photo's diagnosis in numbers and in words.
public struct Told: Sendable {
    public let critique: Critique
    public let written: Written
}

/// Critiques and enhances photos with the networks of one `pocket` bundle; opens each network when it is first needed.
///
/// Not to be shared between threads. Levelling and cropping are not carried out.
public final class PhotoPair {
    private static let strengths = 0.0...2.0

    private let runners: any RunnerSource
    private let gate: GateSettings
    private let vocabulary: Vocabulary?
    private var opened: [String: any Runner] = [:]
    private var decoder: (any Decoder)?

    /// - Parameters:
    ///   - runners: where the networks come from.
    ///   - gate: the gate that they were tuned with.
    ///   - vocabulary: the decoder's; `nil` where there is no prose.
    public init(_ runners: any RunnerSource, gate: GateSettings, vocabulary: Vocabulary?) {
        self.runners = runners
        self.gate = gate
        self.vocabulary = vocabulary
    }

    /// Diagnoses a photo.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails.
    public func critique(_ pixels: Pixels) throws -> Critique { try look(pixels).critique }

    /// Diagnoses a photo and puts it into words, which agree with the gated plan.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - mode: how much is written.
    ///   - check: called before every step of the decoder; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/config(_:)`` if the bundle has no decoder, ``PocketCrafterError/runner(_:)`` if a
    ///   network fails.
    public func prose(_ pixels: Pixels, mode: Mode = .full, check: () throws -> Void = {}) throws -> Told {
        guard let vocabulary else {
            throw PocketCrafterError.config("This bundle has no decoder, which writes the prose.")
        }
        let seen = try look(pixels)
        let stated = Stated(plan: seen.critique.plan, gate: gate, score: seen.critique.score)
        let decoder = try decoder ?? runners.openDecoder()
        self.decoder = decoder
        let written = try Writer(decoder, vocabulary).write(seen.tokens, stated, mode, check: check)
        return Told(critique: seen.critique, written: written)
    }

    /// Enhances a photo at its own resolution.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - strength: factor on the plan and on the tone grid's departure from identity, in [0, 2].
    ///   - progress: called with tiles done and tiles in all during restoration; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/config(_:)`` if the strength is out of range, ``PocketCrafterError/runner(_:)`` if a
    ///   network fails.
    public func enhance(
        _ pixels: Pixels, strength: Double = 1, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Enhanced {
        guard Self.strengths.contains(strength) else {
            throw PocketCrafterError.config("The strength is from 0 to \(Self.strengths.upperBound), not \(strength).")
        }
        let seen = try look(pixels)
        let plan = try seen.critique.plan.scaled(by: strength)
        let restored = plan.restores ? try restored(pixels, plan, progress) : pixels
        let grid = plan.changesTones ? try grid(seen).blended(strength) : nil
        let toned = plan.changesTones ? Developer.develop(restored, plan: plan, grid: grid) : restored
        return Enhanced(pixels: toned, plan: plan, critique: seen.critique, restored: restored, grid: grid)
    }

    /// What the critic made of a photo.
    private struct Seen {
        let critique: Critique
        /// Shape `(tokens, tokenDim)`.
        let tokens: [Float]
        /// The view that it saw.
        let view: [Float]
    }

    private func look(_ pixels: Pixels) throws -> Seen {
        let view = Views.global(pixels)
        let out = try runner("critic").run(["view": view, "crops": Views.crops(pixels)])
        func output(_ name: String, _ count: Int) throws -> [Float] { try out.output(name, count: count, of: "critic") }
        let attributes = Attribute.allCases.count
        let plan = try output("plan", attributes)
        let tokens = try output("tokens", Constants.tokens * Constants.tokenDim)
        let chosen = try gate.judge?.choose(plan, view: view, tokens: tokens) { try runner("judge") }
        let critique = try Critique(
            plan: plan, presence: output("presence", attributes), confidence: output("confidence", attributes),
            score: output("score", 1)[0], gate: gate, tones: chosen?.tones)
        return Seen(critique: critique, tokens: tokens, view: view)
    }

    private func restored(
        _ pixels: Pixels, _ plan: EditPlan, _ progress: (Int, Int) throws -> Void
    ) throws -> Pixels {
        let amounts = Attribute.allCases.filter(\.restores).map { Float(plan[$0]) }
        let network = try runner("restore")
        return try Tiles().map(pixels, progress: progress) { tile in
            try network.run(["tile": tile, "amounts": amounts]).output("restored", count: tile.count, of: "restore")
        }
    }

    private func grid(_ seen: Seen) throws -> ToneGrid {
        // The critic's full plan goes in, as in training; strength then scales what comes out.
        let plan = seen.critique.plan
        let inputs = [
            "view": seen.view, "rendered": Renderer(plan).renderPlanes(seen.view), "plan": plan.vector, "tokens": seen.tokens,
        ]
        return try ToneGrid(runner("tone").run(inputs).output("grid", count: ToneGrid.count, of: "tone"))
    }

    private func runner(_ component: String) throws -> any Runner {
        if let runner = opened[component] { return runner }
        let runner = try runners.open(component)
        opened[component] = runner
        return runner
    }
}
