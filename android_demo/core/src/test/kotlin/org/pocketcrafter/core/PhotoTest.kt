package org.pocketcrafter.core

import org.pocketcrafter.core.generated.Constants.GRID_BINS
import org.pocketcrafter.core.generated.Constants.GRID_COEFFICIENTS
import org.pocketcrafter.core.generated.Constants.GRID_COLUMNS
import org.pocketcrafter.core.generated.Constants.GRID_ROWS
import org.pocketcrafter.core.photo.Developer
import org.pocketcrafter.core.photo.Exif
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Renderer
import org.pocketcrafter.core.photo.Tiles
import org.pocketcrafter.core.photo.ToneGrid
import org.pocketcrafter.core.photo.Views
import org.junit.Test
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** What happens to pixels is what happens in Python. */
class PhotoTest {
    @Test
    fun `the view is Python's to a level of 8 bits`() {
        for (case in Vectors.of("global_view")) assertNear(case.floats("view"), Views.global(case.pixels("pixels")), 1 / 255f)
    }

    @Test
    fun `the view is Python's far below a level`() {
        for (case in Vectors.of("global_view")) assertNear(case.floats("view"), Views.global(case.pixels("pixels")), 1e-5f)
    }

    @Test
    fun `crops are Python's, and lie where Python's do`() {
        for (case in Vectors.of("native_crops")) assertNear(case.floats("crops"), Views.crops(case.pixels("pixels")), 1e-6f)
        for (case in Vectors.of("crop_origins")) {
            val expected = (case["origins"] as List<*>).map { corner -> (corner as List<*>).map { (it as Long).toInt() } }
            assertEquals(expected, Views.cropOrigins(case.int("height"), case.int("width")).map { it.toList() })
        }
    }

    @Test
    fun `gains, curves and pictures of the renderer are Python's`() {
        for (case in Vectors.of("render")) {
            val renderer = Renderer(case.plan("plan"))
            assertNear(case.floats("gains"), renderer.gains, 1e-4f)
            val curves = renderer.tables()
            assertNear(case.floats("curves"), FloatArray(3 * 256) { curves[it % 3][it / 3] }, 1e-4f)
            assertNear(case.floats("rendered"), interleaved(renderer.renderPlanes(planes(case.floats("encoded")))), 1e-4f)
        }
    }

    @Test
    fun `the tone grid is sliced as Python slices it`() {
        for (case in Vectors.of("slice")) {
            val grid = ToneGrid(case.floats("grid")).blended(case.double("strength"))
            assertNear(case.floats("blended"), grid.values, 1e-6f)
            val rgb = case.floats("rgb")
            val (height, width) = (case.of("rgb")["shape"] as List<*>).map { (it as Long).toInt() }
            val slicer = grid.slicer(width, height)
            val out = FloatArray(rgb.size)
            for (y in 0 until height) {
                slicer.moveTo(y)
                val row = rgb.copyOfRange(3 * y * width, 3 * (y + 1) * width).also(slicer::apply)
                row.copyInto(out, 3 * y * width)
            }
            assertNear(case.floats("sliced"), out, 1e-5f)
        }
    }

    @Test
    fun `a developed photo is Python's to a level`() {
        for (case in Vectors.of("develop")) {
            val grid = case["grid"]?.let { ToneGrid(case.floats("grid")) }
            val developed = Developer.develop(case.pixels("pixels"), case.plan("plan"), grid)
            assertTrue(levelsApart(case.pixels("developed"), developed) <= 1)
        }
    }

    @Test
    fun `tiles start, fade and blend as in Python`() {
        for (case in Vectors.of("tile_starts")) {
            assertEquals(case.ints("starts"), Tiles(case.int("tile"), case.int("overlap")).starts(case.int("length")))
        }
        for (case in Vectors.of("feather")) {
            val weights = Tiles(case.int("tile"), case.int("overlap")).feather(case.int("index"), case.int("count"))
            assertNear(case.floats("weights"), weights, 1e-6f)
        }
        for (case in Vectors.of("map_tiles")) {
            val side = case.int("tile")
            val steps = mutableListOf<Pair<Int, Int>>()
            val tiled = Tiles(side, case.int("overlap")).map(case.pixels("pixels"), { done, all -> steps += done to all }) { tile ->
                FloatArray(tile.size) { tile[it] * (1 - (it / side % side + it % side) / 64f) }
            }
            assertTrue(levelsApart(case.pixels("tiled"), tiled) <= 1)
            assertEquals(steps.last().second to steps.last().second, steps.last())
        }
    }

    @Test
    fun `networks that give no numbers, or of another size, are refused`() {
        val photo = Pixels(3, 2, ByteArray(18))
        assertFailsWith<RunnerException> { Tiles(16, 4).map(photo) { tile -> FloatArray(tile.size) { Float.NaN } } }
        assertFailsWith<ShapeException> { Tiles(16, 4).map(photo) { FloatArray(1) } }
        assertFailsWith<ShapeException> { ToneGrid(FloatArray(7)) }
        val values = GRID_COEFFICIENTS * GRID_BINS * GRID_ROWS * GRID_COLUMNS
        assertFailsWith<RunnerException> { ToneGrid(FloatArray(values) { Float.POSITIVE_INFINITY }) }
        assertFailsWith<ShapeException> { Pixels(1 shl 20, 1 shl 20, ByteArray(0)) }
    }

    @Test
    fun `photos are turned upright as in Python`() {
        for (case in Vectors.of("upright")) {
            assertEquals(0, levelsApart(case.pixels("upright"), case.pixels("pixels").upright(case.int("orientation"))))
        }
        assertFailsWith<ConfigException> { Pixels(1, 1, ByteArray(3)).upright(9) }
    }

    @Test
    fun `all that a camera says of a photo is carried over, but how it was held`() {
        val plain = Vectors.of("exif").first().bytes("jpeg")
        for ((n, case) in Vectors.of("exif").withIndex()) {
            val exif = Exif.of(case.bytes("jpeg"))!!
            assertEquals(case.int("orientation"), exif.orientation)
            val saved = exif.into(plain)
            assertEquals(1, Exif.of(saved)!!.orientation)
            assertEquals(plain.size, saved.size)
            // Python's test looks at them with Pillow.
            File(System.getProperty("reports"), "exif-$n.jpg").writeBytes(saved)
        }
    }

    private fun planes(interleaved: FloatArray): FloatArray {
        val size = interleaved.size / 3
        return FloatArray(interleaved.size) { interleaved[3 * (it % size) + it / size] }
    }

    private fun interleaved(planes: FloatArray): FloatArray {
        val size = planes.size / 3
        return FloatArray(planes.size) { planes[it % 3 * size + it / 3] }
    }
}
