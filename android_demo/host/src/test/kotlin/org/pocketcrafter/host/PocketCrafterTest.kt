package org.pocketcrafter.host

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Fidelity
import org.pocketcrafter.core.bundle.GoldenRun
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.sdk.BenchmarkPlan
import org.pocketcrafter.sdk.DeviceFacts
import org.pocketcrafter.sdk.GoldenReport
import org.pocketcrafter.sdk.Heat
import org.pocketcrafter.sdk.Options
import org.pocketcrafter.sdk.PocketCrafter
import org.pocketcrafter.sdk.Progress
import org.pocketcrafter.sdk.State
import java.io.File
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertTrue

/** What an app sees: states that mean what they say, progress, cancelling, and errors after which one can go on. */
class PocketCrafterTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val folder = File(System.getProperty("bundle"))

    @Test
    fun `ready means that a real inference has run`() = runBlocking {
        val ran = mutableListOf<String>()
        val crafter = PocketCrafter(folder) { bundle -> Watched(runners(bundle)) { ran += it } }
        assertEquals(State.Cold, crafter.state.value)
        assertFailsWith<ConfigException> { crafter.critique(photo()) }
        assertEquals(State.Cold, crafter.state.value)
        crafter.open()
        assertEquals(CRITIQUE, ran)
        assertTrue("ONNX Runtime" in assertIs<State.Ready>(crafter.state.value).engine)
        crafter.close()
        assertEquals(State.Cold, crafter.state.value)
    }

    @Test
    fun `an enhanced photo comes last, after its tiles, and is the pair's`() = runBlocking {
        val case = noisy()
        val crafter = PocketCrafter(folder, runners = ::runners).also { it.open() }
        val told = crafter.enhance(case.pixels("pixels")).toList()
        val tiles = told.dropLast(1).map { assertIs<Progress.Part>(it) }
        assertEquals(tiles.last().all, tiles.last().done)
        assertContentEquals(case.pixels("enhanced").rgb, assertIs<Progress.Done>(told.last()).enhanced.pixels.rgb)
        assertEquals(case.text("text"), crafter.prose(case.pixels("pixels")).written.prose.text)
        crafter.close()
    }

    @Test
    fun `a collector that leaves ends the work, and the next photo is taken`() = runBlocking {
        val ran = mutableListOf<String>()
        val crafter = PocketCrafter(folder) { bundle -> Watched(runners(bundle)) { ran += it } }.also { it.open() }
        val noisy = noisy().pixels("pixels")
        val seen = mutableListOf<Progress>()
        crafter.enhance(noisy).onEach { seen += it }.takeWhile { false }.toList()
        assertIs<Progress.Part>(seen.single())
        ran.clear()
        crafter.critique(photo())
        assertEquals(CRITIQUE, ran)
        assertIs<State.Ready>(crafter.state.value)
        crafter.close()
    }

    @Test
    fun `a changed network is not run, and mended it is`() = runBlocking {
        val copy = temporary.newFolder().also { folder.copyRecursively(it, overwrite = true) }
        val artifact = Bundle.open(copy).artifact("tone", "onnx")
        val content = artifact.readBytes()
        artifact.writeBytes(content.copyOf().also { it[100] = (it[100] + 1).toByte() })
        val crafter = PocketCrafter(copy, runners = ::runners)
        assertFailsWith<BundleException> { crafter.open() }
        assertIs<State.Failed>(crafter.state.value)
        artifact.writeBytes(content)
        crafter.open()
        assertIs<State.Ready>(crafter.state.value)
        crafter.close()
    }

    @Test
    fun `a network that fails is told, and a strength out of range fails nothing`() = runBlocking {
        var broken = false
        val crafter = PocketCrafter(folder) { bundle -> Watched(runners(bundle)) { if (broken) throw RunnerException("driver lost") } }
        crafter.open()
        assertFailsWith<ConfigException> { crafter.enhance(photo(), Options(strength = 3.0)).toList() }
        assertIs<State.Ready>(crafter.state.value)
        broken = true
        assertFailsWith<RunnerException> { crafter.critique(photo()) }
        assertEquals("driver lost", assertIs<State.Failed>(crafter.state.value).error.message)
    }

    @Test
    fun `a listener's own error leaves it ready, and native code that does not load is told until it is opened again`() = runBlocking {
        var thrown: Throwable? = null
        val crafter = PocketCrafter(folder) { bundle -> Watched(runners(bundle)) { thrown?.let { throw it } } }
        thrown = UnsatisfiedLinkError("libQnnHtp.so")
        assertFailsWith<RunnerException> { crafter.open() }
        assertTrue("libQnnHtp.so" in assertIs<State.Failed>(crafter.state.value).error.message.orEmpty())
        assertFailsWith<ConfigException> { crafter.critique(photo()) }
        assertIs<State.Failed>(crafter.state.value)
        thrown = null
        crafter.open()
        thrown = IllegalStateException("a listener's own")
        assertFailsWith<IllegalStateException> { crafter.critique(photo()) }
        assertIs<State.Ready>(crafter.state.value)
        crafter.close()
    }

    @Test
    fun `it closes in a coroutine that was cancelled`() = runBlocking {
        val crafter = PocketCrafter(folder, runners = ::runners).also { it.open() }
        val screen = launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                awaitCancellation()
            } finally {
                crafter.close()
            }
        }
        screen.cancelAndJoin()
        assertEquals(State.Cold, crafter.state.value)
    }

    @Test
    fun `memory is given back, and taken again when the next photo comes`() = runBlocking {
        val crafter = PocketCrafter(folder, runners = ::runners).also { it.open() }
        val first = crafter.critique(photo())
        crafter.release()
        assertIs<State.Ready>(crafter.state.value)
        assertEquals(first, crafter.critique(photo()))
        crafter.close()
    }

    @Test
    fun `on a hot device tiles are followed by rests`() = runBlocking {
        val pixels = noisy().pixels("pixels")
        val crafter = PocketCrafter(folder, runners = ::runners).also { it.open() }
        suspend fun seconds() = System.nanoTime().let { start ->
            crafter.enhance(pixels).toList()
            (System.nanoTime() - start) / 1e9
        }
        seconds()
        val cool = minOf(seconds(), seconds())
        crafter.heat = Heat.HOT
        val hot = seconds()
        println("restoring took ${"%.2f".format(cool)} s, and ${"%.2f".format(hot)} s on a hot device")
        assertTrue(hot > 1.5 * cool)
        crafter.close()
    }

    @Test
    fun `a collector that leaves ends a rest too`() = runBlocking {
        val pixels = noisy().pixels("pixels")
        // A tile that takes half a second is followed by a rest three times as long.
        val crafter = PocketCrafter(folder) { bundle -> Watched(runners(bundle)) { if (it == "restore") Thread.sleep(500) } }
        crafter.open()
        crafter.heat = Heat.HOT
        val restored = CompletableDeferred<Unit>()
        val collecting = launch(Dispatchers.Default) { crafter.enhance(pixels).collect { restored.complete(Unit) } }
        restored.await()
        delay(100)
        val start = System.nanoTime()
        collecting.cancelAndJoin()
        assertTrue(System.nanoTime() - start < 1_000_000_000)
        assertIs<State.Ready>(crafter.state.value)
        crafter.close()
    }

    @Test
    fun `goldens and benchmark are reported as Python reports them`() = runBlocking {
        val facts = DeviceFacts("this computer", "no phone", "Linux", System.getProperty("os.arch"))
        val crafter = PocketCrafter(folder, runners = ::runners).also { it.open() }
        val steps = mutableListOf<Int>()
        val goldens = crafter.goldens(facts) { done, _ -> steps += done }
        assertEquals(true, goldens.passed)
        val unjudged = GoldenRun("critic", null, emptyList())
        val source = runners(Bundle.open(folder))
        for ((runs, passed) in mapOf(goldens.runs + unjudged to null, listOf(unjudged, GoldenRun("tone", 40.0, listOf(Fidelity("grid", 3.0, 1.0, 1.0)))) to false)) {
            assertEquals(passed, GoldenReport(Bundle.open(folder).manifest, source, facts, runs).passed)
        }
        assertEquals(goldens.runs.indices.map { it + 1 }, steps)
        assertFailsWith<ConfigException> { BenchmarkPlan(repeats = 0) }
        val latency = crafter.benchmark(BenchmarkPlan(repeats = 7, sustainedSeconds = 2, windowSeconds = 1), facts)
        assertTrue(latency.networks.all { it.medianMs > 0 && it.sustained.size == 2 })
        // Python's test reads both.
        val reports = File(System.getProperty("reports"))
        File(reports, "goldens.json").writeText(goldens.json())
        File(reports, "latency.json").writeText(latency.json())
        crafter.close()
    }

    private fun noisy() = Vectors.of("pair").first { it.plan("plan").restores }

    private fun runners(bundle: Bundle): RunnerSource =
        OnnxRunners(bundle, File(System.getProperty("onnxruntime")), 2, System.getProperty("exact") == "true")

    private fun photo() = Pixels(40, 30, ByteArray(3600) { (it * 7).toByte() })

    /** Real networks, with a word before each run. */
    private class Watched(private val source: RunnerSource, private val before: (String) -> Unit) : RunnerSource by source {
        override fun open(component: String): Runner {
            val runner = source.open(component)
            return object : Runner by runner {
                override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
                    before(component)
                    return runner.run(inputs, function)
                }
            }
        }
    }

    private companion object {
        /** What runs for a critique. */
        val CRITIQUE = listOf("critic", "judge")
    }
}
