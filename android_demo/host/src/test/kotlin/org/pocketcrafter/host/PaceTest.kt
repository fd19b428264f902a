package org.pocketcrafter.host

import com.sun.management.OperatingSystemMXBean
import org.junit.Test
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants
import org.pocketcrafter.core.photo.Developer
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.photo.Tiles
import org.pocketcrafter.core.photo.ToneGrid
import org.pocketcrafter.core.photo.Views
import java.lang.management.ManagementFactory
import kotlin.test.assertTrue

/** The arithmetic around the networks takes about as long as Python's, which was measured just before on this machine. */
class PaceTest {
    private val process = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean

    @Test
    fun `arithmetic takes at most 1_3 times Python's CPU time`() {
        val preview = pixels(1080, 810)
        val photo = pixels(4000, 3000)
        val tiled = pixels(1600, 1200)
        val grid = ToneGrid(FloatArray(GRID) { if (it / CELLS % 5 == 0) 1.12f else 0.02f })
        val plan = EditPlan(mapOf(Attribute.EXPOSURE to 0.5, Attribute.SATURATION to 0.3, Attribute.SHADOWS to 0.4))
        val work = mapOf(
            "preview" to { Developer.develop(preview, plan, grid) },
            "views" to { Views.global(photo) to Views.crops(photo) },
            "tiles" to { Tiles().map(tiled) { it } },
        )
        val python = System.getProperty("python_ms").split(',').associate { pair -> pair.split('=').let { it[0] to it[1].toDouble() } }
        val ratios = work.mapValues { (name, run) ->
            val millis = least(run)
            (millis / python.getValue(name)).also {
                println("$name: ${"%.1f".format(millis)} ms of CPU time, Python's ${"%.1f".format(python[name])}: ${"%.2f".format(it)}×")
            }
        }
        assertTrue(ratios.values.all { it <= MOST }, "$ratios")
        // The time of the clock would be that of whatever else runs here; on two cores it is half of this.
        assertTrue(python.getValue("preview") * ratios.getValue("preview") / 2 <= FRAME_MS)
    }

    /**
     * The least of some runs: what else runs here, and what is compiled meanwhile, adds to the others. Several are timed
     * together, as the system counts CPU time in hundredths of a second.
     */
    private fun least(run: () -> Any): Double = List(ROUNDS) {
        val start = process.processCpuTime
        repeat(TOGETHER) { run() }
        (process.processCpuTime - start) / 1e6 / TOGETHER
    }.min()

    private fun pixels(width: Int, height: Int) = Pixels(width, height, ByteArray(3 * width * height) { (it * 31L).toByte() })

    private companion object {
        const val ROUNDS = 6
        const val TOGETHER = 5
        const val MOST = 1.3
        const val FRAME_MS = 33.0
        const val CELLS = Constants.GRID_BINS * Constants.GRID_ROWS * Constants.GRID_COLUMNS
        const val GRID = Constants.GRID_COEFFICIENTS * CELLS
    }
}
