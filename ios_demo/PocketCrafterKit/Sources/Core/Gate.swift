/// What one attribute of a predicted plan must reach before it is carried out, and how much of it is then.
public struct AttributeGate: Equatable, Sendable {
    /// The lowest P(attribute needs a change), in [0, 1].
    public let presence: Double
    /// The lowest P(predicted amount is near the truth), in [0, 1].
    public let confidence: Double
    /// Smaller predicted amounts are dropped; in vector units.
    public let deadZone: Double
    /// The share of the predicted amount that is carried out, in [0, 1]; 0 never changes it.
    public let shrink: Double
}

/// The gate of a bundle: the part of a predicted plan that is sure enough to be carried out.
public struct GateSettings: Equatable, Sendable {
    private let gates: [AttributeGate]
    /// How the component `judge` chooses tones, in place of their thresholds; `nil` without it.
    public let judge: JudgeSettings?

    /// Reads the gate of a manifest's settings, which its schema has validated.
    ///
    /// - Parameters:
    ///   - raw: the settings.
    ///   - isJudged: whether the bundle has the component that the judge's settings are for.
    /// - Throws: ``PocketCrafterError/bundle(_:)`` if an attribute has none.
    init(_ raw: Json, isJudged: Bool = true) throws {
        let settings = raw["judge"].flatMap { $0 == .null ? nil : $0 }
        judge = try isJudged ? settings.map(JudgeSettings.init) : nil
        gates = try Attribute.allCases.map { attribute in
            guard let gate = raw["attributes"]?[attribute.key] else {
                throw PocketCrafterError.bundle("There is no gate for \(attribute.key).")
            }
            func number(_ key: String) throws -> Double {
                guard let value = gate[key]?.double else {
                    throw PocketCrafterError.bundle("The gate of \(attribute.key) has no number `\(key)`.")
                }
                return value
            }
            return AttributeGate(
                presence: try number("presence"), confidence: try number("confidence"),
                deadZone: try number("dead_zone"), shrink: gate["shrink"] == nil ? 1 : try number("shrink"))
        }
    }

    /// The gate of one attribute.
    public subscript(attribute: Attribute) -> AttributeGate { gates[attribute.rawValue] }

    /// Whether an attribute can be changed at all; of others nothing is said.
    public func assesses(_ attribute: Attribute) -> Bool {
        guard let judge, !attribute.restores else { return self[attribute].shrink > 0 }
        return judge.proposed.contains(attribute)
    }

    /// Turns the critic's raw outputs into the plan that is carried out.
    ///
    /// - Parameters:
    ///   - plan: raw plan in vector units, one entry for each ``Attribute``.
    ///   - presence: probabilities, one for each ``Attribute``.
    ///   - confidence: probabilities, one for each ``Attribute``.
    ///   - tones: what the judge chose, `nil` where it left the photo as it is; not read where there is no judge.
    /// - Returns: zero wherever presence, confidence or amount is below its threshold or not a finite number; elsewhere
    ///   the shrunk amount, clipped to the attribute's range. With a judge the tones are those that it chose.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if an array has another size.
    public func apply(
        plan: [Float], presence: [Float], confidence: [Float], tones: EditPlan? = nil
    ) throws -> EditPlan {
        for array in [plan, presence, confidence] where array.count != Attribute.allCases.count {
            throw PocketCrafterError.shape(
                "The critic judges \(Attribute.allCases.count) attributes, not \(array.count).")
        }
        let kept = try EditPlan(vector: Attribute.allCases.map { attribute in
            let n = attribute.rawValue
            let gate = self[attribute]
            let kept = plan[n].isFinite && Double(presence[n]) >= gate.presence
                && Double(confidence[n]) >= gate.confidence && Double(abs(plan[n])) >= gate.deadZone
            return kept ? Float(Double(plan[n]) * gate.shrink) : 0
        })
        if judge == nil { return kept }
        return try EditPlan(Dictionary(uniqueKeysWithValues: Attribute.allCases.map { attribute in
            (attribute, attribute.restores ? kept[attribute] : tones?[attribute] ?? 0)
        }))
    }
}
