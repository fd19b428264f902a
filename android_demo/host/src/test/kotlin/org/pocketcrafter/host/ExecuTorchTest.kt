package org.pocketcrafter.host

import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test
import org.pocketcrafter.core.PhotoPair
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.assertNear
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.generated.Constants.TILE_PX
import org.pocketcrafter.sdk.ExecuTorchRunners
import java.io.File
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** The SDK's runner on ExecuTorch: the bundle's programs reach their gates, and the pair says the same. */
class ExecuTorchTest {
    private val bundle = Bundle.open(File(System.getProperty("bundle")))
    private val runners by lazy { ExecuTorchRunners(bundle, 2) }

    @Before
    fun `the bundle has the target, and the wheel is installed`() {
        assumeTrue(System.getProperty("executorch") != null && bundle.manifest.targets.any { it.kind == "executorch-xnnpack" })
    }

    @Test
    fun `goldens reach the gates of their artifacts`() {
        for (run in Goldens.run(bundle, runners, runners.kind)) {
            println("${run.component} on ExecuTorch: ${run.fidelity.mapNotNull { it.sqnrDb }.minOrNull()} dB, the gate is ${run.gateDb} dB")
            assertEquals(true, run.passed)
        }
    }

    @Test
    fun `the pair's plans are those of ONNX Runtime, and the same plan has the same words`() {
        val pair = PhotoPair(runners, bundle.manifest.gate!!, bundle.vocabulary())
        var alike = 0
        for (case in Vectors.of("pair").take(3)) {
            val told = pair.prose(case.pixels("pixels"))!!
            val expected = case.plan("plan")
            assertEquals(case.double("score"), told.critique.score, 0.5)
            // The critic's estimator is INT8 here and in floating point there.
            assertNear(expected.vector(), told.critique.plan.vector(), 0.05f)
            if (expected.words() == told.critique.plan.words()) {
                assertEquals(case.text("text"), told.written.prose.text)
                alike += 1
            }
        }
        assertTrue(alike > 0, "no plan of three is told in the same words")
        pair.close()
    }

    @Test
    fun `inputs of another size, and a closed program, are refused`() {
        val runner = runners.open("restore")
        assertFailsWith<ShapeException> { runner.run(mapOf("tile" to FloatArray(1), "amounts" to FloatArray(3))) }
        runner.close()
        val inputs = mapOf("tile" to FloatArray(3 * TILE_PX * TILE_PX), "amounts" to FloatArray(3))
        assertFailsWith<RunnerException> { runner.run(inputs) }
    }
}
