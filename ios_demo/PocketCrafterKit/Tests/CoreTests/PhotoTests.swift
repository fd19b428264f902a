import XCTest

@testable import PocketCrafterCore

/// What happens to pixels is what happens in Python.
final class PhotoTests: XCTestCase {
    func testTheViewIsPythons() throws {
        // Far below a level of 8 bits.
        for one in try Vectors.of("global_view") {
            assertNear(try one.floats("view"), Views.global(try one.pixels("pixels")), within: 1e-5)
        }
    }

    func testCropsArePythonsAndLieWherePythonsDo() throws {
        for one in try Vectors.of("native_crops") {
            assertNear(try one.floats("crops"), Views.crops(try one.pixels("pixels")), within: 1e-6)
        }
        for one in try Vectors.of("crop_origins") {
            let expected = try XCTUnwrap(one["origins"].array).map { $0.array?.compactMap(\.integer) }
            let origins = Views.cropOrigins(height: try one.int("height"), width: try one.int("width"))
            XCTAssertEqual(expected, origins.map { [$0.top, $0.left] })
        }
    }

    func testGainsCurvesAndPicturesOfTheRendererArePythons() throws {
        for one in try Vectors.of("render") {
            let renderer = Renderer(try one.plan("plan"))
            assertNear(try one.floats("gains"), renderer.gains, within: 1e-4)
            let tables = renderer.tables()
            assertNear(try one.floats("curves"), (0..<3 * 256).map { tables[$0 % 3][$0 / 3] }, within: 1e-4)
            let rendered = renderer.renderPlanes(planes(try one.floats("encoded")))
            assertNear(planes(try one.floats("rendered")), rendered, within: 1e-4)
        }
    }

    func testTheToneGridIsSlicedAsPythonSlicesIt() throws {
        for one in try Vectors.of("slice") {
            let grid = try ToneGrid(one.floats("grid")).blended(one.double("strength"))
            assertNear(try one.floats("blended"), grid.values, within: 1e-6)
            let rgb = try one.floats("rgb")
            let shape = try one.of("rgb").ints("shape")
            var slicer = grid.slicer(width: shape[1], height: shape[0])
            var out: [Float] = []
            for y in 0..<shape[0] {
                slicer.move(to: y)
                for x in 0..<shape[1] {
                    let at = 3 * (y * shape[1] + x)
                    var pixel = SIMD3(rgb[at], rgb[at + 1], rgb[at + 2])
                    slicer.apply(x, &pixel)
                    out += [pixel.x, pixel.y, pixel.z]
                }
            }
            assertNear(try one.floats("sliced"), out, within: 1e-5)
        }
    }

    func testADevelopedPhotoIsPythonsToALevel() throws {
        for one in try Vectors.of("develop") {
            let grid = one["grid"] == .null ? nil : try ToneGrid(one.floats("grid"))
            let developed = Developer.develop(try one.pixels("pixels"), plan: try one.plan("plan"), grid: grid)
            XCTAssertLessThanOrEqual(levelsApart(try one.pixels("developed"), developed), 1)
        }
    }

    func testTilesStartFadeAndBlendAsInPython() throws {
        for one in try Vectors.of("tile_starts") {
            let tiles = Tiles(tile: try one.int("tile"), overlap: try one.int("overlap"))
            XCTAssertEqual(try one.ints("starts"), tiles.starts(try one.int("length")))
        }
        for one in try Vectors.of("feather") {
            let tiles = Tiles(tile: try one.int("tile"), overlap: try one.int("overlap"))
            let weights = tiles.feather(try one.int("index"), of: try one.int("count"))
            assertNear(try one.floats("weights"), weights, within: 1e-6)
        }
        for one in try Vectors.of("map_tiles") {
            let side = try one.int("tile")
            var steps: [[Int]] = []
            let tiles = Tiles(tile: side, overlap: try one.int("overlap"))
            let tiled = try tiles.map(one.pixels("pixels"), progress: { steps.append([$0, $1]) }) { tile in
                tile.indices.map { tile[$0] * (1 - Float($0 / side % side + $0 % side) / 64) }
            }
            XCTAssertLessThanOrEqual(levelsApart(try one.pixels("tiled"), tiled), 1)
            XCTAssertEqual(steps.last, [steps.count, steps.count])
        }
    }

    func testPicturesOf16BitsKeepThemAsInPython() throws {
        for one in try Vectors.of("deep") {
            let (pixels, plan) = (try one.pixels("pixels"), try one.plan("plan"))
            assertNear(try one.floats("view"), Views.global(pixels), within: 1e-5)
            assertNear(try one.floats("crops"), Views.crops(pixels), within: 1e-6)
            // 1e-4 of the range, which is what the renderer is held to.
            let rendered = Developer.develop(pixels, plan: plan, grid: nil)
            XCTAssertLessThanOrEqual(levelsApart(try one.pixels("rendered"), rendered), 7)
            // Python's grid may miss a tenth of a level of 8 bits.
            let developed = Developer.develop(pixels, plan: plan, grid: try ToneGrid(one.floats("grid")))
            XCTAssertLessThanOrEqual(levelsApart(try one.pixels("developed"), developed), 26)
            XCTAssertEqual(try one.bytes("eight"), pixels.rgb)
            let tiled = try Tiles(tile: 16, overlap: 4).map(pixels) { tile in
                tile.indices.map { tile[$0] * (1 - Float($0 / 16 % 16 + $0 % 16) / 64) }
            }
            XCTAssertLessThanOrEqual(levelsApart(try one.pixels("tiled"), tiled), 1)
            for made in try one.cases("cuts") {
                let box = try made.of("box")
                let kept = CropBox(
                    left: try box.int("left"), top: try box.int("top"), right: try box.int("right"),
                    bottom: try box.int("bottom"))
                let cut = try Framing(degrees: made.double("degrees"), box: kept).cut(pixels)
                XCTAssertLessThanOrEqual(levelsApart(try made.pixels("cut"), cut), 1)
            }
        }
    }

    func testNetworksThatGiveNoNumbersOrOfAnotherSizeAreRefused() throws {
        let photo = try Pixels(width: 3, height: 2, rgb: [UInt8](repeating: 0, count: 18))
        let tiles = Tiles(tile: 16, overlap: 4)
        assertThrows(\.isRunner) { try tiles.map(photo) { [Float](repeating: .nan, count: $0.count) } }
        assertThrows(\.isShape) { try tiles.map(photo) { _ in [1] } }
        assertThrows(\.isShape) { try ToneGrid([Float](repeating: 0, count: 7)) }
        assertThrows(\.isRunner) { try ToneGrid([Float](repeating: .infinity, count: ToneGrid.count)) }
        assertThrows(\.isShape) { try Pixels(width: 1 << 62, height: 1 << 62, rgb: []) }
        assertThrows(\.isShape) { try Pixels(width: -1, height: -1, rgb: [0, 0, 0]) }
    }

    private func planes(_ interleaved: [Float]) -> [Float] {
        let size = interleaved.count / 3
        return interleaved.indices.map { interleaved[3 * ($0 % size) + $0 / size] }
    }
}
