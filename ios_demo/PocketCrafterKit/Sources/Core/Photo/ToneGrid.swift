/// A bilateral grid: an affine transform of color for every pixel, looked up by place and luma, interpolated trilinearly.
///
/// Bin k stands at luma k/7 and cell i at i/15 of the photo's side: pixel x of W reads coordinate `15·(x + 0.5)/W`.
public struct ToneGrid: Equatable, Sendable {
    static let cells = Constants.gridBins * Constants.gridRows * Constants.gridColumns
    static let count = Constants.gridCoefficients * cells

    /// Shape `(gridCoefficients, gridBins, gridRows, gridColumns)`; 3×4 coefficients, row-major.
    public let values: [Float]

    /// - Throws: ``PocketCrafterError/shape(_:)`` if the grid has another size, ``PocketCrafterError/runner(_:)`` if a
    ///   value is not finite.
    public init(_ values: [Float]) throws {
        guard values.count == Self.count else {
            throw PocketCrafterError.shape("A bilateral grid has \(Self.count) values, not \(values.count).")
        }
        guard values.allSatisfy(\.isFinite) else {
            throw PocketCrafterError.runner("The tone network gave a grid with values that are not finite.")
        }
        self.values = values
    }

    /// Returns the grid with its departure from identity times a strength.
    public func blended(_ strength: Double) throws -> ToneGrid {
        let factor = Float(strength)
        return try ToneGrid(values.enumerated().map { n, value in
            let identity: Float = n / Self.cells % 5 == 0 ? 1 : 0
            return identity + factor * (value - identity)
        })
    }

    /// Returns what applies the grid to the rows of a photo of one size, in pixels.
    public func slicer(width: Int, height: Int) -> Slicer { Slicer(grid: self, width: width, height: height) }

    /// Applies a grid to the rows of a photo, one after the other.
    public struct Slicer {
        private let values: [Float]
        private let height: Int
        private let places: [Float]
        /// The grid between two of its rows, as `(gridBins, gridColumns, 4)` of the coefficients of R, G and B.
        private var row = [SIMD3<Float>](repeating: .zero, count: 4 * Constants.gridBins * Constants.gridColumns)

        init(grid: ToneGrid, width: Int, height: Int) {
            values = grid.values
            self.height = height
            places = (0..<width).map { Self.coordinate($0, width, Constants.gridColumns) }
        }

        /// Takes up a row of pixels, counted from the top.
        public mutating func move(to y: Int) {
            let place = Self.coordinate(y, height, Constants.gridRows)
            let above = Self.below(place, Constants.gridRows)
            let share = place - Float(above)
            let columns = Constants.gridColumns
            for coefficient in 0..<Constants.gridCoefficients {
                for bin in 0..<Constants.gridBins {
                    let start = ((coefficient * Constants.gridBins + bin) * Constants.gridRows + above) * columns
                    for column in 0..<columns {
                        let upper = values[start + column]
                        let value = upper + share * (values[start + columns + column] - upper)
                        row[(bin * columns + column) * 4 + coefficient % 4][coefficient / 4] = value
                    }
                }
            }
        }

        /// Transforms the pixel at a column of the row; [0, 1] goes in, what comes out is not clipped.
        public func apply(_ x: Int, _ rgb: inout SIMD3<Float>) {
            let luma = Renderer.luma(rgb).clamped(to: 0...1) * Float(Constants.gridBins - 1)
            let bin = Self.below(luma, Constants.gridBins)
            let column = Self.below(places[x], Constants.gridColumns)
            let darker = 4 * (bin * Constants.gridColumns + column)
            let lighter = darker + 4 * Constants.gridColumns
            let right = places[x] - Float(column)
            let light = luma - Float(bin)
            let red = mixed(darker, lighter, right, light) * rgb.x
            let green = mixed(darker + 1, lighter + 1, right, light) * rgb.y
            let blue = mixed(darker + 2, lighter + 2, right, light) * rgb.z
            rgb = red + green + blue + mixed(darker + 3, lighter + 3, right, light)
        }

        private func mixed(_ darker: Int, _ lighter: Int, _ right: Float, _ light: Float) -> SIMD3<Float> {
            let dark = row[darker] + right * (row[darker + 4] - row[darker])
            let bright = row[lighter] + right * (row[lighter + 4] - row[lighter])
            return dark + light * (bright - dark)
        }

        private static func coordinate(_ pixel: Int, _ pixels: Int, _ cells: Int) -> Float {
            Float(min((Double(pixel) + 0.5) / Double(pixels) * Double(cells - 1), Double(cells - 1)))
        }

        /// The cell at or below a coordinate that has another one above it.
        private static func below(_ coordinate: Float, _ cells: Int) -> Int { min(Int(coordinate), cells - 2) }
    }
}
