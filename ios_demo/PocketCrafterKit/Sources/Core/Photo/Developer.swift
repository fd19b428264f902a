/// The tones of an edit at full resolution: render, tone grid and rounding, row by row.
public enum Developer {
    /// Applies a plan's tones, and a tone grid after them.
    ///
    /// - Parameters:
    ///   - pixels: the photo.
    ///   - plan: restoration is not read.
    ///   - grid: the tone grid, or `nil` for the analytic render alone.
    /// - Returns: a picture of the same size.
    public static func develop(_ pixels: Pixels, plan: EditPlan, grid: ToneGrid?) -> Pixels {
        let renderer = Renderer(plan)
        let tables = renderer.tables().flatMap(\.self)
        var slicer = grid?.slicer(width: pixels.width, height: pixels.height)
        let out = [UInt8](unsafeUninitializedCapacity: pixels.rgb.count) { out, count in
            pixels.rgb.withUnsafeBufferPointer { source in
                var at = 0
                for y in 0..<pixels.height {
                    slicer?.move(to: y)
                    for x in 0..<pixels.width {
                        var rgb = SIMD3<Float>(
                            tables[Int(source[at])], tables[256 + Int(source[at + 1])], tables[512 + Int(source[at + 2])])
                        renderer.scaleChroma(&rgb)
                        slicer?.apply(x, &rgb)
                        let levels = (rgb * 255 + 0.5).clamped(lowerBound: .zero, upperBound: .init(repeating: 255))
                        for channel in 0..<3 { out[at + channel] = UInt8(levels[channel]) }
                        at += 3
                    }
                }
            }
            count = pixels.rgb.count
        }
        return Pixels(unchecked: out, like: pixels)
    }
}
