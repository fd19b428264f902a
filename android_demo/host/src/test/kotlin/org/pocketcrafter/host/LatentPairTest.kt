package org.pocketcrafter.host

import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.latent.LatentPair
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.psnr
import org.pocketcrafter.sdk.ExecuTorchRunners
import org.pocketcrafter.sdk.Options
import org.pocketcrafter.sdk.PocketCrafter
import org.pocketcrafter.sdk.Progress
import org.pocketcrafter.sdk.State
import java.io.File
import kotlin.math.abs
import kotlin.math.log10
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertSame
import kotlin.test.assertTrue

/** A latent pair on its networks: answers, hidden states and pictures are Python's, and the SDK runs it too. */
class LatentPairTest {
    private val folder by lazy { File(System.getProperty("latent")) }
    private val bundle by lazy { Bundle.open(folder) }

    @Before
    fun `there is a latent bundle`() = assumeTrue(System.getProperty("latent") != null)

    @Test
    fun `answers and pictures are Python's`() = LatentPair(onnx(bundle), bundle).use { pair ->
        for (case in Vectors.of("latent_pair")) {
            val photo = case.pixels("pixels")
            val enhanced = pair.enhance(photo, case.double("strength"))
            val decibels = psnr(case.pixels("enhanced"), enhanced.pixels)
            val answer = pair.answer(photo)
            val states = sqnr(case.floats("hidden"), answer.hidden)
            println(
                "${case.text("photo")} ${photo.width}×${photo.height}: PSNR ${"%.1f".format(decibels)} dB to Python's, hidden states " +
                    "${"%.1f".format(states)} dB: ${enhanced.notes}",
            )
            assertTrue(decibels >= 40, "${case.text("photo")} is at $decibels dB")
            assertTrue(states >= 60)
            assertEquals(case.ints("ids"), answer.ids)
            val critique = pair.critique(photo)
            assertEquals(case.text("text"), critique.text)
            assertEquals(case["ended"], critique.ended)
            // Figures of one decimal may round to either side.
            assertEquals(case.texts("notes").map(::worded), enhanced.notes.map(::worded))
        }
    }

    @Test
    fun `photos are edited in tiles too, as colors, and pixel by pixel`() {
        val notes = Vectors.of("latent_pair").map { it.texts("notes") }
        assertTrue(notes.any { it.isEmpty() })
        assertTrue(notes.any { "in tiles" in worded(it.firstOrNull().orEmpty()) })
        assertTrue(notes.any { "dB are carried over" in it.firstOrNull().orEmpty() })
    }

    @Test
    fun `every network and function reaches its gate on both engines`() {
        val hasPrograms = System.getProperty("executorch") != null && bundle.manifest.targets.any { it.kind == "executorch-xnnpack" }
        for (source in listOfNotNull(onnx(bundle), if (hasPrograms) ExecuTorchRunners(bundle) else null)) {
            for (run in Goldens.run(bundle, source, source.kind)) {
                assertEquals(true, run.passed, "${run.component} on ${source.engine}: ${run.fidelity}")
            }
        }
    }

    @Test
    fun `the sdk opens it, tells of words and steps, and answers`() = runBlocking {
        val case = Vectors.of("latent_pair").first { it.texts("notes").isEmpty() }
        val crafter = PocketCrafter(folder, runners = ::onnx).also { it.open() }
        assertIs<State.Ready>(crafter.state.value)
        val told = crafter.enhance(case.pixels("pixels")).toList()
        val parts = told.dropLast(1).map { assertIs<Progress.Part>(it) }
        assertEquals(listOf(Stage.WORDS, Stage.STEPS), parts.map { it.stage }.distinct())
        assertEquals(parts.last().all, parts.last().done)
        assertTrue(psnr(case.pixels("enhanced"), assertIs<Progress.Done>(told.last()).enhanced.pixels) >= 40)
        assertEquals(case.text("text"), crafter.answer(case.pixels("pixels")).text)
        crafter.close()
    }

    @Test
    fun `a collector that leaves ends the work at the next word or step`() = runBlocking {
        val photo = Vectors.of("latent_pair").first().pixels("pixels")
        for (stage in listOf(Stage.WORDS, Stage.STEPS)) {
            val crafter = PocketCrafter(folder, runners = ::onnx).also { it.open() }
            val seen = mutableListOf<Progress>()
            crafter.enhance(photo).onEach { seen += it }.takeWhile { it is Progress.Part && it.stage != stage }.toList()
            assertEquals(stage, assertIs<Progress.Part>(seen.last()).stage)
            assertIs<State.Ready>(crafter.state.value)
            crafter.close()
        }
    }

    @Test
    fun `what its pair cannot do is said, and fails nothing`() = runBlocking {
        val crafter = PocketCrafter(folder, runners = ::onnx).also { it.open() }
        val photo = Pixels(20, 30, ByteArray(1800))
        assertFailsWith<ConfigException> { crafter.critique(photo) }
        assertFailsWith<ConfigException> { crafter.look(photo) }
        assertFailsWith<ConfigException> { crafter.prose(photo) }
        assertFailsWith<ConfigException> { crafter.enhance(photo, Options(plan = EditPlan())).toList() }
        assertFailsWith<ConfigException> { crafter.enhance(photo, Options(strength = -1.0)).toList() }
        assertIs<State.Ready>(crafter.state.value)
        crafter.close()
        assertSame(State.Cold, crafter.state.value)
        val pocket = PocketCrafter(File(System.getProperty("bundle")), runners = ::onnx).also { it.open() }
        assertFailsWith<ConfigException> { pocket.answer(photo) }
        pocket.close()
    }

    @Test
    fun `numbers that are none are told`() {
        val broken = object : RunnerSource by onnx(bundle) {
            override fun open(component: String) = Spoiled(onnx(bundle).open(component), component)
        }
        LatentPair(broken, bundle).use { pair -> assertFailsWith<RunnerException> { pair.critique(Pixels(8, 8, ByteArray(192))) } }
    }

    private class Spoiled(private val runner: Runner, private val component: String) :
        Runner by runner {
        override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> =
            runner.run(inputs, function).mapValues { (name, values) ->
                if (component == "language" && name == "logits") FloatArray(values.size) { Float.NaN } else values
            }
    }

    private fun onnx(bundle: Bundle): RunnerSource =
        OnnxRunners(bundle, File(System.getProperty("onnxruntime")), 2, System.getProperty("exact") == "true")

    private fun worded(note: String): String = note.replace(Regex("[0-9]+(\\.[0-9]+)?"), "N").replace("in N tiles", "in tiles")

    private fun sqnr(reference: FloatArray, actual: FloatArray): Double {
        assertEquals(reference.size, actual.size)
        val noise = reference.indices.sumOf { abs(reference[it] - actual[it]).toDouble().let { error -> error * error } }
        return 10 * log10(reference.sumOf { it.toDouble() * it } / noise)
    }
}
