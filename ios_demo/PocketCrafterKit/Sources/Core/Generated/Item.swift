// Written by `python -m pocketcrafter.runtime.vectors`; change the Python source, and run it again.

/// What a critique speaks about.
public enum Item: Int, CaseIterable, Sendable {
    case blur
    case noise
    case distortion
    case interference
    case saturation
    case whiteBalance
    case contrast
    case exposure
    case dynamicRange
    case shadowQuality
    case layout
    case focus
    case viewpoint
    case backgroundBlur
    case style
    case toneStyle
    case creativity
    case emotion
    case semanticRichness
    case environment
    case context

    private struct Row: Sendable {
        let label: String
        let group: String
        let measuredBy: [Attribute]
    }

    private static let rows: [Row] = [
        Row(label: "blur/clarity", group: "quality", measuredBy: [.deblur]),
        Row(label: "noise/compression", group: "quality", measuredBy: [.denoise, .dejpeg]),
        Row(label: "distortion/artifacts", group: "quality", measuredBy: []),
        Row(label: "visual interference", group: "quality", measuredBy: []),
        Row(label: "saturation", group: "color and light", measuredBy: [.saturation]),
        Row(label: "white balance", group: "color and light", measuredBy: [.temperature, .tint]),
        Row(label: "contrast", group: "color and light", measuredBy: [.contrast, .dehaze]),
        Row(label: "exposure", group: "color and light", measuredBy: [.exposure]),
        Row(label: "dynamic range", group: "color and light", measuredBy: [.highlights]),
        Row(label: "shadow quality", group: "color and light", measuredBy: [.shadows]),
        Row(label: "layout", group: "composition", measuredBy: []),
        Row(label: "focus", group: "composition", measuredBy: []),
        Row(label: "viewpoint/horizon", group: "composition", measuredBy: []),
        Row(label: "background blur", group: "composition", measuredBy: []),
        Row(label: "style", group: "composition", measuredBy: []),
        Row(label: "tone style", group: "aesthetic", measuredBy: []),
        Row(label: "creativity", group: "aesthetic", measuredBy: []),
        Row(label: "emotion/story", group: "aesthetic", measuredBy: []),
        Row(label: "semantic richness", group: "aesthetic", measuredBy: []),
        Row(label: "environment integration", group: "aesthetic", measuredBy: []),
        Row(label: "context adaptability", group: "aesthetic", measuredBy: []),
    ]

    /// The name in JSON, for people too.
    public var label: String { Self.rows[rawValue].label }

    /// The group that it belongs to.
    public var group: String { Self.rows[rawValue].group }

    /// The attributes that are evidence for it.
    public var measuredBy: [Attribute] { Self.rows[rawValue].measuredBy }
}
