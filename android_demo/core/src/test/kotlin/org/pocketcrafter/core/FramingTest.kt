package org.pocketcrafter.core

import org.junit.Test
import org.pocketcrafter.core.bundle.asList
import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.geometry.Composer
import org.pocketcrafter.core.geometry.CropBox
import org.pocketcrafter.core.geometry.CropProposal
import org.pocketcrafter.core.geometry.FrameFacts
import org.pocketcrafter.core.geometry.Reason
import org.pocketcrafter.core.geometry.Salience
import org.pocketcrafter.core.geometry.Turn
import org.pocketcrafter.core.photo.Pixels
import kotlin.math.abs
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue

/** Photos are levelled and cropped as Python does it. */
class FramingTest {
    @Test
    fun `boxes that a turn leaves are Python's`() {
        for (case in Vectors.of("inscribed_box")) {
            assertEquals(case.box("box"), Turn.inscribedBox(case.int("width"), case.int("height"), case.double("degrees")))
        }
    }

    @Test
    fun `turned pixels are Pillow's`() {
        for (case in Vectors.of("cut")) {
            val made = Turn.cut(case.pixels("pixels"), case.box("box"), case.double("degrees"))
            assertTrue(levelsApart(case.pixels("cut"), made) <= 1, "at ${case.double("degrees")}°")
        }
        val photo = Pixels(4, 3, ByteArray(36))
        for (box in listOf(CropBox(0, 0, 5, 3), CropBox(2, 0, 2, 3), CropBox(-1, 0, 2, 2))) {
            assertFailsWith<ShapeException> { Turn.cut(photo, box) }
        }
    }

    @Test
    fun `the network sees what Python shows it`() {
        for (case in Vectors.of("working_copy")) {
            assertTrue(levelsApart(case.pixels("working"), Composer.working(case.pixels("pixels"))) <= 1)
        }
        for (case in Vectors.of("letterboxed")) {
            val (view, inside) = Composer.letterboxed(case.pixels("pixels"), case["box"]?.let { case.box("box") })
            val expected = case.bytes("view").map { it.toInt() and 0xFF }
            assertTrue(view.indices.all { abs(view[it] * 255 - expected[it]) <= 1 })
            assertEquals(case.bytes("inside").map { it.toFloat() }, inside.toList())
        }
    }

    @Test
    fun `crops are proposed and decided on as in Python`() {
        for (case in Vectors.of("crop_proposals")) {
            val expected = asList(case["proposals"]).map(::asObject).map { CropProposal(box(it["box"]), box(it["reference"])) }
            assertEquals(expected, CropProposal.of(case.int("width"), case.int("height")))
        }
        for (case in Vectors.of("compose")) {
            val scores = case.floats("scores")
            var runs = 0
            val network = object : Runner {
                override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
                    assertEquals(setOf("view", "inside"), inputs.keys)
                    val said = listOf("tilt", "confidence").associateWith { floatArrayOf(case.double(it).toFloat()) }
                    return said + ("score" to floatArrayOf(scores[runs++ % scores.size]))
                }

                override fun close() = Unit
            }
            val composed = Composer(network).compose(case.pixels("pixels"), case["crop"] as Boolean)!!
            assertEquals(case.double("turn_degrees"), composed.turnDegrees, 1e-6)
            assertEquals(case["box"]?.let { case.box("box") }, composed.box)
            assertEquals(case["cropped"], composed.cropped)
            assertEquals(case.double("severity"), composed.tilt.severity, 1e-6)
            assertReasons(case, composed.reasons)
            runs = 0
            assertEquals(composed.tilt, Composer(network).tilt(case.pixels("pixels")))
            assertNull(Composer(network).compose(Pixels(63, 200, ByteArray(3 * 63 * 200)), crop = true))
            assertNull(Composer(network).tilt(Pixels(63, 200, ByteArray(3 * 63 * 200))))
        }
    }

    @Test
    fun `what stands out, and why a crop is better, is Python's`() {
        for (case in Vectors.of("salience")) {
            val salience = Salience.of(case.pixels("pixels"))
            assertNear(case.floats("salience"), salience.values, 1e-4f)
        }
        for (case in Vectors.of("frame_facts")) {
            val (height, width) = case.of("salience").ints("shape")
            val salience = Salience(width, height, case.floats("salience"))
            val expected = facts(case.of("facts"))
            val found = salience.facts(case.int("width"), case.int("height"), case.box("box"))
            assertEquals(expected.toThird, found.toThird, 1e-5)
            assertEquals(expected.toMiddle, found.toMiddle, 1e-5)
            assertEquals(expected.atBorder, found.atBorder, 1e-5)
        }
        for (case in Vectors.of("crop_reasons")) assertReasons(case, Reason.of(facts(case.of("before")), facts(case.of("after"))))
    }

    private fun facts(case: Case) = FrameFacts(case.double("to_third"), case.double("to_middle"), case.double("at_border"))

    private fun assertReasons(case: Case, reasons: List<Reason>) {
        val expected = case.cases("reasons")
        assertEquals(expected.map { it.text("kind") to it.text("words") }, reasons.map { it.kind.name.lowercase() to it.words })
        for ((one, found) in expected zip reasons) {
            assertEquals(one.double("before"), found.before, 1e-4)
            assertEquals(one.double("after"), found.after, 1e-4)
        }
    }

    private fun Case.box(name: String): CropBox = box(this[name])

    private fun box(raw: Any?): CropBox = asList(raw).map { (it as Long).toInt() }.let { (left, top, right, bottom) -> CropBox(left, top, right, bottom) }
}
