package org.pocketcrafter.host

import org.pocketcrafter.core.Framing
import org.pocketcrafter.core.PhotoPair
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.assertNear
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.generated.Constants.CROPS
import org.pocketcrafter.core.generated.Constants.CROP_PX
import org.pocketcrafter.core.generated.Constants.VIEW_PX
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.psnr
import org.junit.After
import org.junit.Test
import java.io.File
import kotlin.math.abs
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertSame
import kotlin.test.assertTrue

/** The whole pair, on the networks of a real bundle: pictures and words are Python's. */
class PhotoPairTest {
    private val bundle = Bundle.open(File(System.getProperty("bundle")))
    private val runners = OnnxRunners(bundle, File(System.getProperty("onnxruntime")), 2, System.getProperty("exact") == "true")
    private val pair = PhotoPair(runners, bundle.manifest.gate!!, bundle.vocabulary(), bundle.has("composition"))

    @After
    fun close() = pair.close()

    @Test
    fun `enhanced photos are Python's to 50 dB`() {
        for (case in Vectors.of("pair")) {
            val photo = case.pixels("pixels")
            val started = System.nanoTime()
            val enhanced = pair.enhance(photo)
            val seconds = (System.nanoTime() - started) / 1e9
            val decibels = psnr(case.pixels("enhanced"), enhanced.pixels)
            println("${case.text("photo")}: PSNR ${"%.1f".format(decibels)} dB to Python's, ${"%.2f".format(seconds)} s: ${enhanced.plan!!.words()}")
            assertNear(case.plan("plan"), enhanced.critique!!.plan)
            assertTrue(decibels >= 50, "${case.text("photo")} is at $decibels dB")
        }
        println(File("/proc/self/status").readLines().first { it.startsWith("VmHWM") } + ", with a heap of at most 1 GiB")
    }

    @Test
    fun `critiques are Python's, letter by letter`() {
        for (case in Vectors.of("pair")) {
            val told = pair.prose(case.pixels("pixels"))!!
            assertEquals(case.text("text"), told.written.prose.text)
            assertEquals(case.ints("ids"), told.written.ids)
            assertEquals(case.double("score"), told.critique.score, 0.1)
            assertEquals(case.texts("lines"), told.critique.lines())
        }
    }

    @Test
    fun `photos are levelled and cropped as by Python`() {
        for (case in Vectors.of("pair").filter { it["framing"] != null }) {
            val expected = case.of("framing")
            val photo = case.pixels("pixels")
            val made = pair.enhance(photo, strength = 0.0, framing = Framing.LEVEL_AND_CROP)
            val composed = made.composed!!
            assertEquals(expected.double("turn_degrees"), composed.turnDegrees, 0.05)
            assertEquals(expected.texts("reasons"), composed.reasons.map { it.words })
            assertEquals(pair.critique(photo).findings, made.critique!!.findings)
            val box = expected["box"]?.let { expected.of("box") }
            println("${case.text("photo")}: turned by ${"%.1f".format(composed.turnDegrees)}°, ${composed.box}")
            assertEquals(box == null, composed.box == null)
            if (box == null) {
                assertSame(photo, made.pixels)
                continue
            }
            val found = composed.box!!
            for ((name, side) in mapOf("left" to found.left, "top" to found.top, "right" to found.right, "bottom" to found.bottom)) {
                assertTrue(abs(box.int(name) - side) <= 1, "$name of ${case.text("photo")} is $side, not ${box.int(name)}")
            }
            assertEquals(found.width to found.height, made.pixels.width to made.pixels.height)
        }
    }

    @Test
    fun `strength 0 gives the very photo back`() {
        val photo = Vectors.of("pair").first().pixels("pixels")
        assertSame(photo, pair.enhance(photo, strength = 0.0).pixels)
    }

    @Test
    fun `photos of one pixel and of slivers come through`() {
        for ((width, height) in listOf(1 to 1, 3 to 700, 700 to 2)) {
            val out = pair.enhance(Pixels(width, height, ByteArray(3 * width * height) { (it * 37).toByte() })).pixels
            assertEquals(width to height, out.width to out.height)
        }
    }

    @Test
    fun `inputs of another size, and a closed network, are refused`() {
        val runner = runners.open("critic")
        assertFailsWith<ShapeException> { runner.run(mapOf("view" to FloatArray(3), "crops" to FloatArray(3))) }
        val inputs = mapOf("view" to FloatArray(3 * VIEW_PX * VIEW_PX), "crops" to FloatArray(CROPS * 3 * CROP_PX * CROP_PX))
        assertEquals(setOf("plan", "presence", "confidence", "score", "tokens", "scene"), runner.run(inputs).keys)
        runner.close()
        runner.close()
        assertFailsWith<RunnerException> { runner.run(inputs) }
    }
}
