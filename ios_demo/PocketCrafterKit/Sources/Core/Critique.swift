/// What a critique says of one item.
public enum Finding: Equatable, Sendable {
    /// Nothing stands behind an opinion.
    case notAssessed
    /// There is nothing to mend.
    case fine
    /// There is a fault, of a severity in (0, 1].
    case fault(severity: Double)
}

/// The diagnosis of one photo.
public struct Critique: Equatable, Sendable {
    /// From 0 to 100; higher is better.
    public let score: Double
    /// What is worth changing: the plan after the gate.
    public let plan: EditPlan
    /// One for every item; the horizon is not assessed by this core.
    public let findings: [Item: Finding]

    /// Reads a critique off the critic's outputs.
    ///
    /// - Parameters:
    ///   - plan: raw plan in vector units, one entry for each ``Attribute``.
    ///   - presence: probabilities, one for each ``Attribute``.
    ///   - confidence: probabilities, one for each ``Attribute``.
    ///   - score: in [0, 1]; clipped to it, and 0 where it is no number.
    ///   - gate: the bundle's gate; an item is assessed where it can open for one of the item's attributes.
    ///   - tones: what the gate's judge chose, `nil` where it chose nothing; not read where there is no judge.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if an array has another size.
    public init(
        plan: [Float], presence: [Float], confidence: [Float], score: Float, gate: GateSettings, tones: EditPlan? = nil
    ) throws {
        let gated = try gate.apply(plan: plan, presence: presence, confidence: confidence, tones: tones)
        self.plan = gated
        self.score = 100 * Self.unit(Double(score))
        findings = Dictionary(uniqueKeysWithValues: Item.allCases.map { ($0, Self.finding($0, gated, gate)) })
    }

    private static func finding(_ item: Item, _ plan: EditPlan, _ gate: GateSettings) -> Finding {
        let severities = item.measuredBy.filter(gate.assesses).map { abs(plan[$0]) / $0.unit }
        guard let severity = severities.max() else { return .notAssessed }
        return severity > 0 ? .fault(severity: unit(severity)) : .fine
    }

    private static func unit(_ value: Double) -> Double { value.isNaN ? 0 : value.clamped(to: 0...1) }
}
