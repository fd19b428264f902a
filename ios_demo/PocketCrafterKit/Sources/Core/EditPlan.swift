import Foundation

/// What to do to a photo, in physical units; `0` always means "no change".
///
/// Turns and crops are no part of it: this core does not carry them out.
public struct EditPlan: Equatable, Sendable {
    private var amounts: [Double]

    /// The plan that changes nothing.
    public init() {
        amounts = [Double](repeating: 0, count: Attribute.allCases.count)
    }

    /// A plan of amounts, each in its attribute's own unit; what is absent is 0.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if an amount is out of its attribute's range.
    public init(_ amounts: [Attribute: Double]) throws {
        self.init()
        for (attribute, amount) in amounts {
            guard attribute.range.contains(amount) else {
                let range = attribute.range
                throw PocketCrafterError.config(
                    "\(attribute.key) is from \(range.lowerBound) to \(range.upperBound), not \(amount).")
            }
            self.amounts[attribute.rawValue] = amount
        }
    }

    /// A plan vector's plan; entries outside an attribute's range are clipped to it.
    ///
    /// - Parameter vector: one finite entry for each ``Attribute``, in units of ``Attribute/unit``.
    /// - Throws: ``PocketCrafterError/shape(_:)`` if it has another size, ``PocketCrafterError/config(_:)`` if an entry
    ///   is not a number.
    public init(vector: [Float]) throws {
        guard vector.count == Attribute.allCases.count else {
            throw PocketCrafterError.shape("A plan vector has \(Attribute.allCases.count) entries, not \(vector.count).")
        }
        var amounts: [Attribute: Double] = [:]
        for attribute in Attribute.allCases {
            let amount = Double(vector[attribute.rawValue]) * attribute.unit
            amounts[attribute] = amount.isNaN ? amount : amount.clamped(to: attribute.range)
        }
        try self.init(amounts)
    }

    /// The amount of an attribute, in its own unit.
    public subscript(attribute: Attribute) -> Double { amounts[attribute.rawValue] }

    /// Returns the plan with another amount of one attribute.
    ///
    /// - Throws: ``PocketCrafterError/config(_:)`` if the amount is out of its attribute's range.
    public func with(_ attribute: Attribute, _ amount: Double) throws -> EditPlan {
        var changed = self
        changed.amounts[attribute.rawValue] = try EditPlan([attribute: amount])[attribute]
        return changed
    }

    /// The plan as the networks take it: one entry for each ``Attribute``, in units of ``Attribute/unit``.
    public var vector: [Float] { Attribute.allCases.map { Float(self[$0] / $0.unit) } }

    /// Returns the plan with every amount times a strength, clipped to its range.
    ///
    /// - Parameter strength: a number ≥ 0.
    public func scaled(by strength: Double) throws -> EditPlan {
        try EditPlan(vector: vector.map { $0 * Float(strength) })
    }

    /// Whether any tone asks for a change.
    public var changesTones: Bool { Attribute.allCases.contains { !$0.restores && self[$0] != 0 } }

    /// Whether noise, blur or block artifacts are to be removed.
    public var restores: Bool { Attribute.allCases.contains { $0.restores && self[$0] != 0 } }

    /// The plan in words, as in "+0.8 EV, 25 mired warmer, denoise 0.4".
    public var words: String {
        let told = Attribute.allCases.filter { self[$0] != 0 }.map { Self.words($0, self[$0]) }
        return told.isEmpty ? "left as it is" : told.joined(separator: ", ")
    }

    private static func words(_ attribute: Attribute, _ amount: Double) -> String {
        switch attribute {
        case .exposure: "\(signed(amount, 1)) EV"
        case .temperature: "\(fixed(amount, 0)) mired \(amount > 0 ? "warmer" : "cooler")"
        case .tint: "\(fixed(amount, 0)) mired \(amount > 0 ? "more magenta" : "greener")"
        case .contrast, .highlights, .shadows, .saturation: "\(attribute.key) \(signed(amount, 2))"
        case .dehaze, .denoise, .deblur, .dejpeg: "\(attribute.key) \(fixed(amount, 1))"
        }
    }

    private static func signed(_ amount: Double, _ digits: Int) -> String {
        (amount < 0 ? "-" : "+") + fixed(amount, digits)
    }
}

/// The magnitude with so many digits behind the point; C's printf rounds the exact binary value half to even, as Python does.
func fixed(_ amount: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", abs(amount)) }

extension Comparable {
    func clamped(to range: ClosedRange<Self>) -> Self {
        min(max(self, range.lowerBound), range.upperBound)
    }
}
