/// A network's estimate of the horizon's tilt.
public struct TiltOpinion: Equatable, Sendable {
    /// The clockwise turn that would level the photo.
    public let degrees: Double
    /// In [0, 1], how sure the network is of it.
    public let confidence: Double

    /// Whether it may be acted on, or called level.
    public var isSure: Bool { confidence >= Constants.sureOfTilt }

    /// The turn that is carried out, in degrees; 0 where the network is not sure, or the photo is level.
    public var turn: Double { isSure && abs(degrees) >= Constants.leastTurnDegrees ? degrees : 0 }

    /// How bad the tilt is, in [0, 1]; 0 is level.
    public var severity: Double { min(1, abs(turn) / Constants.fullSeverityDegrees) }
}

/// One measured fact that a crop betters.
public struct Reason: Equatable, Sendable {
    /// What a reason speaks of.
    public enum Kind: String, Sendable {
        /// What stands out is nearer to a crossing of the thirds.
        case thirds
        /// It is nearer to the middle.
        case center
        /// Less of it is cut.
        case border
    }

    public let kind: Kind
    /// Of the uncropped photo: a distance in sides of the frame, or a share of what stands out.
    public let before: Double
    /// The same of the crop.
    public let after: Double
    /// The same for people, in English.
    public let words: String

    /// Says which of the measured facts a crop betters, the plainest first; nothing that was not measured is said.
    static func of(_ before: FrameFacts, _ after: FrameFacts) -> [Reason] {
        [
            nearer(.thirds, before.toThird, after.toThird, "to a crossing of the thirds"),
            nearer(.center, before.toMiddle, after.toMiddle, "to the middle"),
            freed(before.atBorder, after.atBorder),
        ].compactMap(\.self)
    }

    private static func nearer(_ kind: Kind, _ before: Double, _ after: Double, _ place: String) -> Reason? {
        guard before - after >= Constants.leastNearer else { return nil }
        let way = "(\(percent(before)) of the frame's side away, now \(percent(after)))"
        return Reason(kind: kind, before: before, after: after, words: "what stands out comes nearer \(place) \(way)")
    }

    private static func freed(_ before: Double, _ after: Double) -> Reason? {
        guard before - after >= Constants.leastFreed else { return nil }
        let words = "the border cuts \(percent(after)) of what stands out instead of \(percent(before))"
        return Reason(kind: .border, before: before, after: after, words: words)
    }

    private static func percent(_ share: Double) -> String { "\(rounded(100 * share))%" }
}
