package org.pocketcrafter.sdk

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.job
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.Critique
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Enhanced
import org.pocketcrafter.core.Enhancer
import org.pocketcrafter.core.Framing
import org.pocketcrafter.core.Look
import org.pocketcrafter.core.PhotoPair
import org.pocketcrafter.core.PocketCrafterException
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.Told
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.generated.Targets
import org.pocketcrafter.core.latent.LatentCritique
import org.pocketcrafter.core.latent.LatentPair
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.core.prose.Mode
import java.io.File

/** Where a [PocketCrafter] stands. */
sealed interface State {
    /** Nothing was opened yet, or everything was closed. */
    data object Cold : State

    /** Files are hashed: bytes done, and bytes in all. */
    data class Verifying(val done: Long, val all: Long) : State

    /** The first networks are opened and run for the first time. */
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
 * @property plan what is carried out in place of the critic's own plan; an artist of the latent family takes none.
 * @property framing what may be done to its frame; needs a bundle with a composition network.
 */
data class Options(val strength: Double = 1.0, val plan: EditPlan? = null, val framing: Framing = Framing.AS_IS)

/**
 * How warm the device is, and so how long work rests.
 *
 * @property rest pause after each tile, word or step, in times of its own duration.
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
    /** So many of a stage are done: words of the answer, steps of the artist, tiles of the restoration; [all] at most. */
    data class Part(val stage: Stage, val done: Int, val all: Int) : Progress

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
     * Opens the bundle, hashes all of it, and runs its first networks once. Does nothing where that was done already.
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
        current.value = State.Warming
        val source = runners(bundle)
        val made = pair(bundle, source)
        try {
            made.warm()
        } catch (error: Throwable) {
            made.closeAfter(error)
            throw error
        }
        opened = Opened(bundle, source, made)
    }

    /**
     * Whether the critic gives numbers, as [critique], [look] and [prose] need; else [answer] has its words.
     *
     * @throws ConfigException if it is not open.
     */
    suspend fun givesNumbers(): Boolean = running { it.pair is PhotoPair }

    /**
     * Diagnoses a photo with a `pocket` bundle; throws as [PhotoPair.critique].
     *
     * @throws ConfigException if it is not open, or its critic answers in words: [answer] has those.
     */
    suspend fun critique(pixels: Pixels): Critique = running { it.pocket().critique(pixels) }

    /** Diagnoses a photo and finds its tone grid: what sliders need to show a change at once; throws as [critique]. */
    suspend fun look(pixels: Pixels): Look = running { it.pocket().look(pixels) }

    /** Diagnoses a photo and puts it into words; cancelling the coroutine ends it at the next word; throws as [critique]. */
    suspend fun prose(pixels: Pixels, mode: Mode = Mode.FULL): Told = running { opened ->
        val context = currentCoroutineContext()
        opened.pocket().prose(pixels, mode) {
            context.ensureActive()
            false
        } ?: throw CancellationException("cancelled")
    }

    /**
     * Lets the critic of a `latent` bundle answer; cancelling the coroutine ends it at the next word.
     *
     * @param progress told how many words of at most how many are written.
     * @throws ConfigException if it is not open, there is no critic, or its critic gives numbers: [critique] has those.
     */
    suspend fun answer(pixels: Pixels, progress: (Int, Int) -> Unit = { _, _ -> }): LatentCritique = running { opened ->
        val context = currentCoroutineContext()
        opened.latent().critique(pixels) { done, all ->
            context.ensureActive()
            progress(done, all)
        }
    }

    /** Enhances a photo with a bundle of either family; cancelling the collector ends it at the next tile, word or step. */
    fun enhance(pixels: Pixels, options: Options = Options()): Flow<Progress> = enhance({ pixels }, options)

    /** Enhances a photo whose pixels are made when it is its turn, where the work is done. */
    internal fun enhance(pixels: () -> Pixels, options: Options): Flow<Progress> = channelFlow {
        val enhanced = running { opened ->
            val context = currentCoroutineContext()
            var started = System.nanoTime()
            opened.pair.enhance(pixels(), options.strength, options.plan, options.framing) { stage, done, all ->
                context.ensureActive()
                // A collector that is slow misses some; it never misses the end.
                trySend(Progress.Part(stage, done, all))
                // A child of this coroutine: a collector that leaves ends the rest too.
                val rest = heat.rest * (System.nanoTime() - started) / NANOS_A_MILLI
                if (rest > 0) runBlocking(context.job) { delay(rest) }
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
    suspend fun release() = working {
        opened?.pair?.close()
        Unit
    }

    /** Closes every network, once the photo that is being worked on is done; in a coroutine that was cancelled too. */
    suspend fun close() = withContext(NonCancellable) {
        mutex.withLock {
            val pair = opened?.pair
            opened = null
            whenClosed()
            whenClosed = {}
            current.value = State.Cold
            withContext(dispatcher) { pair?.close() }
            Unit
        }
    }

    /** Notes what [close] ends; what was noted before ends now. */
    internal fun onClose(action: () -> Unit) {
        whenClosed()
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
            var failure = current.value as? State.Failed
            try {
                work()
            } catch (error: PocketCrafterException) {
                if (error is BundleException || error is RunnerException) failure = failed(error)
                throw error
            } catch (error: LinkageError) {
                val typed = RunnerException("The engine's native code does not load on this device: ${error.message}", error)
                failure = failed(typed)
                throw typed
            } finally {
                current.value = opened?.let { State.Ready(it.runners.engine) } ?: failure ?: State.Cold
            }
        }
    }

    private fun failed(error: PocketCrafterException): State.Failed {
        opened?.pair?.closeAfter(error)
        opened = null
        return State.Failed(error)
    }

    /** Closes what failed; a failure to close it is noted in the error that is thrown. */
    private fun Enhancer.closeAfter(error: Throwable) = try {
        close()
    } catch (second: PocketCrafterException) {
        error.addSuppressed(second)
    }

    private class Opened(val bundle: Bundle, val runners: RunnerSource, val pair: Enhancer) {
        fun pocket(): PhotoPair = pair as? PhotoPair
            ?: throw ConfigException("This bundle is of the family `${bundle.manifest.family}`: answer() and enhance() run it.")

        fun latent(): LatentPair = pair as? LatentPair
            ?: throw ConfigException("This bundle is of the family `${bundle.manifest.family}`: critique(), prose() and enhance() run it.")
    }

    /** What runs a bundle's family. */
    private fun pair(bundle: Bundle, source: RunnerSource): Enhancer {
        val (gate, latent) = bundle.manifest.run { gate to latent }
        if (latent != null) return LatentPair(source, bundle)
        if (gate == null) throw BundleException("The bundle is of the family `${bundle.manifest.family}`, of which no photo is enhanced.")
        val words = if (bundle.manifest.files.any { it.path == Targets.TOKENIZER }) bundle.vocabulary() else null
        return PhotoPair(source, gate, words, composes = bundle.has(COMPOSITION))
    }

    /** What extensions open it with. */
    companion object {
        private const val COMPOSITION = "composition"
        private const val NANOS_A_MILLI = 1_000_000L
    }
}
