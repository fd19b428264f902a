// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

/// What a plan can change; its raw value is its place in the critic's and artist's vectors.
public enum Attribute: Int, CaseIterable, Sendable {
    case exposure
    case temperature
    case tint
    case contrast
    case highlights
    case shadows
    case saturation
    case dehaze
    case denoise
    case deblur
    case dejpeg

    private struct Row: Sendable {
        let key: String
        let unit: Double
        let lowest: Double
        let highest: Double
        let restores: Bool
    }

    private static let rows: [Row] = [
        Row(key: "exposure_ev", unit: 2.0, lowest: -4.0, highest: 4.0, restores: false),
        Row(key: "temperature_mired", unit: 100.0, lowest: -200.0, highest: 200.0, restores: false),
        Row(key: "tint_mired", unit: 50.0, lowest: -100.0, highest: 100.0, restores: false),
        Row(key: "contrast", unit: 1.0, lowest: -1.0, highest: 1.0, restores: false),
        Row(key: "highlights", unit: 1.0, lowest: -1.0, highest: 1.0, restores: false),
        Row(key: "shadows", unit: 1.0, lowest: -1.0, highest: 1.0, restores: false),
        Row(key: "saturation", unit: 1.0, lowest: -1.0, highest: 1.0, restores: false),
        Row(key: "dehaze", unit: 1.0, lowest: 0.0, highest: 1.0, restores: false),
        Row(key: "denoise", unit: 1.0, lowest: 0.0, highest: 1.0, restores: true),
        Row(key: "deblur", unit: 1.0, lowest: 0.0, highest: 1.0, restores: true),
        Row(key: "dejpeg", unit: 1.0, lowest: 0.0, highest: 1.0, restores: true),
    ]

    /// The name in JSON.
    public var key: String { Self.rows[rawValue].key }

    /// One unit of the plan vector in the attribute's own unit.
    public var unit: Double { Self.rows[rawValue].unit }

    /// The legal values, in the attribute's own unit.
    public var range: ClosedRange<Double> { Self.rows[rawValue].lowest...Self.rows[rawValue].highest }

    /// Whether the restoration network carries it out; the others are tones.
    public var restores: Bool { Self.rows[rawValue].restores }
}
