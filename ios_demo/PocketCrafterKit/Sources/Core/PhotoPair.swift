/// What became of a photo.
public struct Enhanced: Sendable {
    /// The very input where there was nothing to do.
    public let pixels: Pixels
    /// What was done; `nil` where the artist takes no plan, as in the `latent` family.
    public let plan: EditPlan?
    /// The horizon is in it where the photo was levelled; `nil` where the critic gives no numbers, as in the `latent` family.
    public let critique: Critique?
    /// The photo before its tones were changed by the plan; with ``grid``, ``Developer`` shows other plans.
    public let restored: Pixels
    /// What changed tones beside the plan, `nil` where none were changed.
    public let grid: ToneGrid?
    /// How the photo was levelled and cropped, and why; `nil` where that was not asked for, or the photo is too small.
    /// ``restored`` is neither.
    public let composed: Composed?
    /// What of the edit is not in the photo, one short sentence each.
    public let notes: [String]
}

/// A photo's diagnosis in words.
public struct Told: Sendable {
    /// The whole text.
    public let text: String
    /// The text taken apart; `nil` where a `latent` critic's answer is no critique in our form.
    public let prose: Prose?
    /// In numbers; `nil` where the critic gives none, as in the `latent` family.
    public let critique: Critique?
    /// Ids of the words that were written.
    public let ids: [Int]
    /// Whether it came to an end by itself, and not at the longest that an answer may be.
    public let ended: Bool
}

/// A critic and an artist, of either family; opens each network when it is first needed. Not to be shared between threads.
public protocol Pair: AnyObject {
    /// Closes every network; each is opened again when it is needed.
    func release()

    /// Runs what a critique begins with once, on a small gray picture.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails.
    func warm() throws

    /// Diagnoses a photo in numbers.
    ///
    /// - Throws: ``PocketCrafterError/runner(_:)`` if a network fails, ``PocketCrafterError/config(_:)`` if this critic gives
    ///   none.
    func critique(_ pixels: Pixels) throws -> Critique

    /// Diagnoses a photo in words.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - mode: how much is written; a `latent` critic writes what it writes.
    ///   - progress: called before every word with those written, and the most that there will be; what it throws ends the
    ///     work.
    /// - Throws: ``PocketCrafterError/config(_:)`` if the bundle has nothing that writes, ``PocketCrafterError/runner(_:)``
    ///   if a network fails.
    func prose(_ pixels: Pixels, mode: Mode, progress: (_ done: Int, _ all: Int) throws -> Void) throws -> Told

    /// Enhances a photo at its own resolution.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - strength: factor on the edit, in [0, 2].
    ///   - geometry: whether it may be levelled and cropped too; that is done whatever the strength.
    ///   - progress: called with what is done and at most to do: tiles of restoration, or words and steps of a `latent`
    ///     pair; what it throws ends the work.
    /// - Throws: ``PocketCrafterError/config(_:)`` if the strength is out of range, or this pair does not level;
    ///   ``PocketCrafterError/runner(_:)`` if a network fails.
    func enhance(
        _ pixels: Pixels, strength: Double, geometry: Geometry, progress: (_ done: Int, _ all: Int) throws -> Void
    ) throws -> Enhanced
}

extension Pair {
    /// The strengths that edits can have.
    static var strengths: ClosedRange<Double> { 0...2 }

    /// - Throws: ``PocketCrafterError/config(_:)`` if a strength is out of range.
    static func check(_ strength: Double) throws {
        guard strengths.contains(strength) else {
            throw PocketCrafterError.config("The strength is from 0 to \(strengths.upperBound), not \(strength).")
        }
    }

    /// A small gray picture.
    static func gray() throws -> Pixels { try Pixels(width: 64, height: 64, rgb: [UInt8](repeating: 0x70, count: 3 * 64 * 64)) }
}

/// Critiques and enhances photos with the networks of one `pocket` bundle.
public final class PhotoPair: Pair {
    private let runners: any RunnerSource
    private let gate: GateSettings
    private let vocabulary: Vocabulary?
    private let composes: Bool
    private var opened: [String: any Runner] = [:]
    private var decoder: (any Decoder)?

    /// - Parameters:
    ///   - runners: where the networks come from.
    ///   - gate: the gate that they were tuned with.
    ///   - vocabulary: the decoder's; `nil` where there is no prose.
    ///   - composes: whether there is the component `composition`, which levels and crops.
    public init(_ runners: any RunnerSource, gate: GateSettings, vocabulary: Vocabulary?, composes: Bool = false) {
        self.runners = runners
        self.gate = gate
        self.vocabulary = vocabulary
        self.composes = composes
    }

    public func release() { (opened, decoder) = ([:], nil) }

    public func warm() throws { _ = try look(Self.gray()) }

    /// Diagnoses a photo in numbers; its horizon too, where the bundle has the composition network.
    public func critique(_ pixels: Pixels) throws -> Critique { try diagnosed(pixels, look(pixels)) }

    /// Diagnoses a photo and puts it into words, which agree with the gated plan; as ``Pair``.
    public func prose(
        _ pixels: Pixels, mode: Mode = .full, progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Told {
        guard let vocabulary else {
            throw PocketCrafterError.config("This bundle has no decoder, which writes the prose.")
        }
        let seen = try look(pixels)
        let stated = Stated(plan: seen.critique.plan, gate: gate, score: seen.critique.score)
        let decoder = try decoder ?? runners.openDecoder()
        self.decoder = decoder
        var steps = 0
        let written = try Writer(decoder, vocabulary).write(seen.tokens, stated, mode) {
            try progress(steps, Constants.proseLength)
            steps += 1
        }
        return Told(
            text: written.prose.text, prose: written.prose, critique: try diagnosed(pixels, seen), ids: written.ids, ended: true)
    }

    public func enhance(
        _ pixels: Pixels, strength: Double = 1, geometry: Geometry = .kept,
        progress: (_ done: Int, _ all: Int) throws -> Void = { _, _ in }
    ) throws -> Enhanced {
        try Self.check(strength)
        guard geometry == .kept || composes else {
            throw PocketCrafterError.config("This bundle has no composition network, which levelling needs.")
        }
        let seen = try look(pixels)
        let plan = try seen.critique.plan.scaled(by: strength)
        let restored = plan.restores ? try restored(pixels, plan, progress) : pixels
        let grid = plan.changesTones ? try grid(seen).blended(strength) : nil
        let toned = plan.changesTones ? Developer.develop(restored, plan: plan, grid: grid) : restored
        let composed = geometry == .kept ? nil : try composer().compose(pixels, crops: geometry == .levelledAndCropped)
        return Enhanced(
            pixels: try composed?.framing?.cut(toned) ?? toned, plan: plan,
            critique: geometry == .kept ? seen.critique : seen.critique.with(composed?.tilt), restored: restored, grid: grid,
            composed: composed, notes: [])
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

    /// The critique with what the composition network makes of the horizon, where there is one.
    private func diagnosed(_ pixels: Pixels, _ seen: Seen) throws -> Critique {
        composes ? seen.critique.with(try composer().tilt(pixels)) : seen.critique
    }

    private func composer() throws -> Composer { Composer(network: try runner(Composer.component)) }

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
