/// A part of the critic's predicted plan.
public struct Proposal: Equatable, Sendable {
    /// What it keeps.
    public let attributes: Set<Attribute>
    /// Smaller predicted amounts are dropped; in vector units.
    public let deadZone: Double
    /// The factor on what is left.
    public let strength: Double
}

/// A proposal that is carried out.
public struct Chosen: Equatable, Sendable {
    /// Nothing but tones.
    public let tones: EditPlan
    /// The quantiles of its gain in CIEDE2000, lowest first.
    public let gain: [Float]
}

/// What a bundle's judge chooses from, and how sure it must be.
public struct JudgeSettings: Equatable, Sendable {
    private static let quantiles = 3
    private static let previewPx = Constants.previewPx

    /// What the judge was trained to look at, in order.
    public let proposals: [Proposal]
    /// What the low quantile of a gain must exceed, in CIEDE2000.
    public let bar: Double
    /// What the median of a gain must exceed, in CIEDE2000: less is invisible.
    public let worth: Double

    /// The tones that a proposal can change.
    public var proposed: Set<Attribute> { Set(proposals.flatMap(\.attributes).filter { !$0.restores }) }

    /// Reads the settings of a manifest's gate, which its schema has validated.
    ///
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if something is missing.
    init(_ raw: Json) throws {
        guard let proposals = raw["proposals"]?.array, let bar = raw["bar"]?.double, let worth = raw["worth"]?.double
        else { throw PocketCrafterError.bundle("The gate's judge lacks its proposals, its bar or its worth.") }
        self.proposals = proposals.map { proposal in
            let keys = proposal["attributes"]?.array?.compactMap(\.string) ?? []
            return Proposal(
                attributes: Set(Attribute.allCases.filter { keys.contains($0.key) }),
                deadZone: proposal["dead_zone"]?.double ?? 0, strength: proposal["strength"]?.double ?? 1)
        }
        self.bar = bar
        self.worth = worth
    }

    /// Returns the proposals that a predicted plan comes to, one vector each; some may be equal, or change nothing.
    ///
    /// - Parameter plan: as the critic predicts it, in vector units; what is not finite counts as no change.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if it has another size.
    func propose(_ plan: [Float]) throws -> [[Float]] {
        try proposals.map { proposal in
            try EditPlan(vector: zip(Attribute.allCases, plan).map { attribute, amount in
                let kept = !attribute.restores && proposal.attributes.contains(attribute) && amount.isFinite
                    && Double(abs(amount)) >= proposal.deadZone
                return kept ? Float(Double(amount) * proposal.strength) : 0
            }).vector
        }
    }

    /// Lets a judge choose among a predicted plan's proposals.
    ///
    /// - Parameters:
    ///   - plan: as the critic predicts it, in vector units.
    ///   - view: what the critic saw, shape `(3, viewPx, viewPx)`.
    ///   - tokens: the critic's plan tokens.
    ///   - judge: opens the judge; called where there is something to judge.
    /// - Returns: `nil` where the photo is better left as it is.
    /// - Throws: ``PocketCrafterError/runner(_:)`` if the judge fails.
    func choose(_ plan: [Float], view: [Float], tokens: [Float], judge: () throws -> any Runner) throws -> Chosen? {
        let plans = try propose(plan)
        if plans.allSatisfy({ $0.allSatisfy { $0 == 0 } }) { return nil }
        let inputs = try Self.inputs(preview: Self.preview(view), plans: plans, tokens: tokens)
        let gains = try judge().run(inputs).output("gain", count: plans.count * Self.quantiles, of: "judge")
        guard let place = Self.best(gains, bar: bar, worth: worth), plans[place].contains(where: { $0 != 0 }) else {
            return nil
        }
        let gain = Array(gains[place * Self.quantiles..<(place + 1) * Self.quantiles])
        return Chosen(tones: try EditPlan(vector: plans[place]), gain: gain)
    }

    /// What a judge reads: every proposal beside the photo.
    ///
    /// - Parameters:
    ///   - preview: the photo, as ``preview(_:)`` gives it.
    ///   - plans: the proposals, in vector units.
    ///   - tokens: the critic's plan tokens.
    static func inputs(preview: [Float], plans: [[Float]], tokens: [Float]) throws -> [String: [Float]] {
        [
            "view": plans.flatMap { _ in preview },
            "rendered": try plans.flatMap { Renderer(try EditPlan(vector: $0)).renderPlanes(preview) },
            "plan": plans.flatMap(\.self),
            "tokens": plans.flatMap { _ in tokens },
        ]
    }

    /// The mean of each square of a view, shape `(3, viewPx, viewPx)`: shape `(3, previewPx, previewPx)`.
    static func preview(_ view: [Float]) -> [Float] {
        let square = Constants.viewPx / previewPx
        var out = [Float](repeating: 0, count: 3 * previewPx * previewPx)
        for n in out.indices {
            let (row, column) = (n / previewPx % previewPx, n % previewPx)
            let plane = n / (previewPx * previewPx) * Constants.viewPx
            var sum = 0.0
            for y in row * square..<(row + 1) * square {
                let start = (plane + y) * Constants.viewPx + column * square
                for x in start..<start + square { sum += Double(view[x]) }
            }
            out[n] = Float(sum / Double(square * square))
        }
        return out
    }

    /// Which proposal is carried out: that of the best median, among those that are sure enough and worth it.
    static func best(_ gains: [Float], bar: Double, worth: Double) -> Int? {
        var best: Int?
        for n in 0..<gains.count / quantiles {
            let median = gains[n * quantiles + 1]
            guard Double(gains[n * quantiles]) > bar, Double(median) > worth else { continue }
            if let found = best, median <= gains[found * quantiles + 1] { continue }
            best = n
        }
        return best
    }
}
