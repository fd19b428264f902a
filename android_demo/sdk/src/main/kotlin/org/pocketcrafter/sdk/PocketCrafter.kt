package org.pocketcrafter.sdk

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.Critique
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Enhanced
import org.pocketcrafter.core.Look
import org.pocketcrafter.core.PhotoPair
import org.pocketcrafter.core.PocketCrafterException
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.Told
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.generated.Targets
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.prose.Mode
import java.io.File

/** Where a [PocketCrafter] stands. */
sealed interface State {
    /** Nothing was opened yet, or everything was closed. */
    data object Cold : State

    /** Files are hashed: bytes done, and bytes in all. */
    data class Verifying(val done: Long, val all: Long) : State

    /** The critic is opened and runs for the first time. */
    data object Warming : State

    /** A real inference has run, on this engine. */
    data class Ready(val engine: String) : State

    /** A photo is being worked on. */
    data object Running : State

    /** It cannot go on; [PocketCrafter.open] tries again. */
    data class Failed(val error: PocketCrafterException) : State
}

/**
 * How [PocketCrafter.enhance] treats a photo.
 *
 * @property strength factor on the plan, in [0, 2].
 * @property plan what is carried out in place of the critic's own plan.
 */
data class Options(val strength: Double = 1.0, val plan: EditPlan? = null)

/**
 * How warm the device is, and so how long work rests after each tile.
 *
 * @property rest pause in times of the tile's own duration.
 */
enum class Heat(internal val rest: Int) {
    /** Full speed. */
    NORMAL(0),

    /** Half speed. */
    WARM(1),

    /** A quarter of the speed. */
    HOT(3),
}

/** What [PocketCrafter.enhance] tells of. */
sealed interface Progress {
    /** Restoration has done some of its tiles. */
    data class Tiles(val done: Int, val all: Int) : Progress

    /** The photo is finished; always the last. */
    data class Done(val enhanced: Enhanced) : Progress
}

/**
 * Critiques and enhances photos with one bundle, off the caller's thread, one photo at a time.
 *
 * @param folder the bundle's folder.
 * @param dispatcher where the work is done; never the main thread's.
 * @param runners what runs the bundle's networks.
 */
class PocketCrafter(
    private val folder: File,
    private val dispatcher: CoroutineDispatcher = Dispatchers.Default,
    private val runners: (Bundle) -> RunnerSource,
) {
    private val mutex = Mutex()
    private val current = MutableStateFlow<State>(State.Cold)
    private var opened: Opened? = null
    private var whenClosed: () -> Unit = {}

    /** How warm the device is; whoever listens to it sets it, at any time. */
    @Volatile
    var heat: Heat = Heat.NORMAL

    /** Where it stands; never goes back from [State.Failed] by itself. */
    val state: StateFlow<State> = current.asStateFlow()

    /**
     * Opens the bundle, hashes all of it, and runs the critic once. Does nothing where that was done already.
     *
     * @throws BundleException if the bundle is damaged.
     * @throws RunnerException if a network does not run here.
     */
    suspend fun open() = working {
        if (opened != null) return@working
        val context = currentCoroutineContext()
        val bundle = Bundle.open(folder)
        bundle.verify { done, all ->
            context.ensureActive()
            current.value = State.Verifying(done, all)
        }
        val gate = bundle.manifest.gate
            ?: throw BundleException("The bundle is of the family `${bundle.manifest.family}`; this app runs pocket bundles.")
        current.value = State.Warming
        val words = if (bundle.manifest.files.any { it.path == Targets.TOKENIZER }) bundle.vocabulary() else null
        val source = runners(bundle)
        val made = PhotoPair(source, gate, words)
        try {
            made.critique(Pixels(WARM_PX, WARM_PX, ByteArray(3 * WARM_PX * WARM_PX) { GRAY }))
        } catch (error: PocketCrafterException) {
            made.close()
            throw error
        }
        opened = Opened(bundle, source, made)
    }

    /** Diagnoses a photo; throws as [PhotoPair.critique], and [ConfigException] where it is not open. */
    suspend fun critique(pixels: Pixels): Critique = running { it.pair.critique(pixels) }

    /** Diagnoses a photo and finds its tone grid: what sliders need to show a change at once. */
    suspend fun look(pixels: Pixels): Look = running { it.pair.look(pixels) }

    /** Diagnoses a photo and puts it into words; cancelling the coroutine ends it at the next word. */
    suspend fun prose(pixels: Pixels, mode: Mode = Mode.FULL): Told = running { opened ->
        val context = currentCoroutineContext()
        opened.pair.prose(pixels, mode) {
            context.ensureActive()
            false
        } ?: throw CancellationException("cancelled")
    }

    /** Enhances a photo; cancelling the collector ends it at the next tile. */
    fun enhance(pixels: Pixels, options: Options = Options()): Flow<Progress> = enhance({ pixels }, options)

    /** Enhances a photo whose pixels are made when it is its turn, where the work is done. */
    internal fun enhance(pixels: () -> Pixels, options: Options): Flow<Progress> = channelFlow {
        val enhanced = running { opened ->
            val context = currentCoroutineContext()
            var started = System.nanoTime()
            opened.pair.enhance(pixels(), options.strength, options.plan) { done, all ->
                context.ensureActive()
                // A collector that is slow misses some; it never misses the end.
                trySend(Progress.Tiles(done, all))
                Thread.sleep(heat.rest * (System.nanoTime() - started) / NANOS_A_MILLI)
                started = System.nanoTime()
            }
        }
        send(Progress.Done(enhanced))
    }

    /**
     * Runs the bundle's goldens on the engine that runs here: rung 4 of the parity ladder.
     *
     * @param facts what the device is.
     * @param progress called with networks done and networks in all.
     */
    suspend fun goldens(facts: DeviceFacts, progress: (Int, Int) -> Unit = { _, _ -> }): GoldenReport = running { opened ->
        val context = currentCoroutineContext()
        val runs = Goldens.run(opened.bundle, opened.runners, opened.runners.kind) { done, all ->
            context.ensureActive()
            progress(done, all)
        }
        GoldenReport(opened.bundle.manifest, opened.runners, facts, runs)
    }

    /**
     * Times every network: opened, run for the first time, warm, and then for a while without a pause.
     *
     * @param plan how often and how long.
     * @param facts what the device is.
     * @param progress called with what is measured.
     */
    suspend fun benchmark(plan: BenchmarkPlan, facts: DeviceFacts, progress: (String) -> Unit = {}): BenchmarkReport =
        running { opened ->
            val context = currentCoroutineContext()
            opened.pair.close()
            Benchmark(opened.bundle, opened.runners, plan, facts).run {
                context.ensureActive()
                progress(it)
            }
        }

    /** Closes the networks to give their memory back, once the present photo is done; the next one opens them again. */
    suspend fun release() = mutex.withLock { withContext(dispatcher) { opened?.pair?.close() } }

    /** Closes every network, once the photo that is being worked on is done. */
    suspend fun close() = mutex.withLock {
        withContext(dispatcher) { opened?.pair?.close() }
        opened = null
        whenClosed()
        whenClosed = {}
        current.value = State.Cold
    }

    /** Notes what [close] ends. */
    internal fun onClose(action: () -> Unit) {
        whenClosed = action
    }

    private suspend fun <T> running(work: suspend (Opened) -> T): T = working {
        val ready = opened ?: throw ConfigException("Nothing is open: call open() first.")
        current.value = State.Running
        work(ready)
    }

    /** Does one thing at a time, and leaves the state that fits its end. */
    private suspend fun <T> working(work: suspend () -> T): T = mutex.withLock {
        withContext(dispatcher) {
            try {
                work().also { current.value = rest() }
            } catch (error: PocketCrafterException) {
                val broken = error is BundleException || error is RunnerException
                if (broken) {
                    opened?.pair?.close()
                    opened = null
                }
                current.value = if (broken) State.Failed(error) else rest()
                throw error
            } catch (error: CancellationException) {
                current.value = rest()
                throw error
            }
        }
    }

    private fun rest(): State = opened?.let { State.Ready(it.runners.engine) } ?: State.Cold

    private class Opened(val bundle: Bundle, val runners: RunnerSource, val pair: PhotoPair)

    /** What extensions open it with. */
    companion object {
        private const val WARM_PX = 64
        private const val GRAY: Byte = 0x70
        private const val NANOS_A_MILLI = 1_000_000L
    }
}
