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
        switch pixels.samples {
        case .eight(let levels): Pixels(unchecked: .eight(developed(levels, pixels, plan, grid)), like: pixels)
        case .sixteen(let levels): Pixels(unchecked: .sixteen(developed(levels, pixels, plan, grid)), like: pixels)
        }
    }

    private static func developed<L: Level>(
        _ levels: [L], _ pixels: Pixels, _ plan: EditPlan, _ grid: ToneGrid?
    ) -> [L] {
        let renderer = Renderer(plan)
        let (count, top) = (Int(L.max) + 1, L.max.float)
        let tables = renderer.tables(levels: count).flatMap(\.self)
        var slicer = grid?.slicer(width: pixels.width, height: pixels.height)
        return [L](unsafeUninitializedCapacity: levels.count) { out, made in
            levels.withUnsafeBufferPointer { source in
                var at = 0
                for y in 0..<pixels.height {
                    slicer?.move(to: y)
                    for x in 0..<pixels.width {
                        var rgb = SIMD3<Float>(
                            tables[Int(source[at])], tables[count + Int(source[at + 1])],
                            tables[2 * count + Int(source[at + 2])])
                        renderer.scaleChroma(&rgb)
                        slicer?.apply(x, &rgb)
                        let rounded = (rgb * top + 0.5).clamped(lowerBound: .zero, upperBound: .init(repeating: top))
                        for channel in 0..<3 { out[at + channel] = L(truncatingIfNeeded: Int(rounded[channel])) }
                        at += 3
                    }
                }
            }
            made = levels.count
        }
    }
}
