package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Item
import org.pocketcrafter.core.geometry.TiltOpinion
import org.junit.Test
import kotlin.math.abs
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Plans, the gate and the critique of 21 items are Python's. */
class PlanTest {
    @Test
    fun `vectors, strengths and words are Python's`() {
        for (case in Vectors.of("plan")) {
            val plan = case.plan("plan")
            assertNear(case.floats("vector"), plan.vector(), 0f)
            assertNear(case.plan("scaled"), plan.scaled(case.double("strength")))
            // Python also tells of turns, which are not this core's.
            assertEquals(case.text("words").substringBefore(", turned"), plan.words())
        }
    }

    @Test
    fun `entries out of range are clipped`() {
        for (case in Vectors.of("plan_from_vector")) assertNear(case.plan("plan"), EditPlan.ofVector(case.floats("vector")))
    }

    @Test
    fun `the gate opens where Python's does, and the findings are the same`() {
        for (case in Vectors.of("critique")) {
            val critique = Critique.of(
                case.floats("plan"), case.floats("presence"), case.floats("confidence"), case.double("score").toFloat(), case.gate("gate"),
            )
            assertNear(case.plan("gated"), critique.plan)
            assertEquals(Attribute.entries.filter { case.plan("gated")[it] != 0.0 }, Attribute.entries.filter { critique.plan[it] != 0.0 })
            assertEquals(case.of("critique").double("score"), critique.score, 1e-3)
            val findings = asObject(case.of("critique")["findings"])
            for (item in Item.entries) assertFinding(findings[item.label], critique.findings.getValue(item))
            val tilt = case["tilt"]?.let { case.of("tilt") }?.let { TiltOpinion(it.double("degrees"), it.double("confidence")) }
            val levelled = critique.withTilt(tilt)
            assertFinding(case["horizon"], levelled.findings.getValue(Item.VIEWPOINT))
            assertEquals(case.texts("lines"), levelled.lines())
        }
    }

    @Test
    fun `proposals, previews and what the judge chooses are Python's`() {
        for (case in Vectors.of("propose")) {
            assertNear(case.floats("plans"), joined(judge(case).propose(case.floats("plan"))), 1e-6f)
        }
        for (case in Vectors.of("judge_inputs")) {
            val plans = case.floats("plans").toList().chunked(Attribute.entries.size).map { it.toFloatArray() }
            val read = JudgeSettings.inputs(JudgeSettings.preview(case.floats("view")), plans, case.floats("tokens"))
            for ((name, values) in read) assertNear(case.of("inputs").floats(name), values, 1e-5f)
        }
        for (case in Vectors.of("choose")) {
            assertEquals((case["best"] as Long?)?.toInt(), JudgeSettings.best(case.floats("gains"), case.double("bar"), case.double("worth")))
        }
        for (case in Vectors.of("judged_critique")) {
            val tones = case["tones"]?.let { case.plan("tones") }
            val critique = Critique.of(
                case.floats("plan"), case.floats("presence"), case.floats("confidence"), 0.5f, case.gate("gate"), tones,
            )
            assertNear(case.of("critique").plan("plan"), critique.plan)
            val findings = asObject(case.of("critique")["findings"])
            for (item in Item.entries) assertFinding(findings[item.label], critique.findings.getValue(item))
        }
    }

    @Test
    fun `amounts out of range and vectors of another size are refused`() {
        assertFailsWith<ConfigException> { EditPlan().with(Attribute.DEHAZE, -0.1) }
        assertFailsWith<ConfigException> { EditPlan().with(Attribute.EXPOSURE, Double.NaN) }
        assertFailsWith<ShapeException> { EditPlan.ofVector(FloatArray(3)) }
    }

    private fun judge(case: Case) = JudgeSettings.read(asObject(case["judge"]))

    private fun joined(plans: List<FloatArray>) = plans.flatMap { it.toList() }.toFloatArray()

    private fun assertFinding(expected: Any?, actual: Finding) = when (actual) {
        Finding.Fine -> assertEquals("fine", expected)
        Finding.NotAssessed -> assertEquals("not_assessed", expected)
        is Finding.Fault -> assertTrue(abs(actual.severity - (expected as Number).toDouble()) <= 1e-3)
    }
}
