import Foundation

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
    /// One for every item; the horizon's is known where a composition network looked.
    public private(set) var findings: [Item: Finding]

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

    /// Returns the critique with the horizon assessed: not where the tilt is unknown or not sure.
    func with(_ tilt: TiltOpinion?) -> Critique {
        var told = self
        if let tilt, tilt.isSure {
            told.findings[.viewpoint] = tilt.severity > 0 ? .fault(severity: tilt.severity) : .fine
        } else {
            told.findings[.viewpoint] = .notAssessed
        }
        return told
    }

    /// What people read: score and plan, then what was found in each group.
    public var lines: [String] {
        var groups: [String] = []
        for item in Item.allCases where !groups.contains(item.group) { groups.append(item.group) }
        let found = groups.map { group in
            let told = Item.allCases.filter { $0.group == group }.compactMap { item in words(item).map { "\(item.label) \($0)" } }
            let name = group.padding(toLength: Self.groupWidth, withPad: " ", startingAt: 0)
            return "  \(name) \(told.isEmpty ? "not assessed" : told.joined(separator: ", "))"
        }
        return ["score \(fixed(score, 0)), \(plan.words)"] + found
    }

    /// What was found of an item: how bad it is, and by which attribute where it is not called after that.
    private func words(_ item: Item) -> String? {
        switch findings[item] {
        case nil, .notAssessed: return nil
        case .fine: return "fine"
        case .fault(let severity):
            // The first of two that are as strong, as in Python.
            let causes = item.measuredBy.map { (attribute: $0, size: abs(plan[$0]) / $0.unit) }
            let cause = causes.first { one in causes.allSatisfy { $0.size <= one.size } }?.attribute
            guard let cause, cause != item.measuredBy.first else { return fixed(severity, 2) }
            return "\(fixed(severity, 2)) (\(cause.key.prefix { $0 != "_" }))"
        }
    }

    private static func finding(_ item: Item, _ plan: EditPlan, _ gate: GateSettings) -> Finding {
        let severities = item.measuredBy.filter(gate.assesses).map { abs(plan[$0]) / $0.unit }
        guard let severity = severities.max() else { return .notAssessed }
        return severity > 0 ? .fault(severity: unit(severity)) : .fine
    }

    private static let groupWidth = 16

    private static func unit(_ value: Double) -> Double { value.isNaN ? 0 : value.clamped(to: 0...1) }
}
