package org.pocketcrafter.app

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.flow.single
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.Critique
import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.Enhanced
import org.pocketcrafter.core.Look
import org.pocketcrafter.core.PocketCrafterException
import org.pocketcrafter.core.Stage
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.photo.Developer
import org.pocketcrafter.core.photo.Exif
import org.pocketcrafter.core.photo.Pixels
import org.pocketcrafter.sdk.Options
import org.pocketcrafter.sdk.PocketCrafter
import org.pocketcrafter.sdk.Progress

/** What is worked on now. */
sealed interface Work {
    /** Nothing: the user may do as he likes. */
    data object Idle : Work

    /** The photo is read, or the critic runs. */
    data object Looking : Work

    /** The photo is enhanced: so many tiles, words or steps are done. */
    data class Enhancing(val stage: Stage, val done: Int, val all: Int) : Work

    /** The critique is put into words. */
    data object Writing : Work

    /** A file is written. */
    data object Saving : Work
}

/**
 * A photo that is open.
 *
 * @property full all of its pixels.
 * @property preview the same, small enough to be drawn again at every movement of a slider.
 */
class Opened(val full: Pixels, val preview: Pixels, val exif: Exif?, val reduced: Int)

/**
 * What the screen shows.
 *
 * @property plan what the sliders say; before strength.
 * @property strength in [0, 2].
 * @property after the preview with all of that.
 * @property notes what is to be said of the edit of an artist that takes no plan; `null` where none was made.
 * @property words the critique, paragraph by paragraph.
 * @property message what was done last, or why it was not.
 */
data class Screen(
    val work: Work = Work.Idle,
    val photo: Opened? = null,
    val critique: Critique? = null,
    val plan: EditPlan = EditPlan(),
    val strength: Double = 1.0,
    val after: Pixels? = null,
    val notes: List<String>? = null,
    val words: List<String> = emptyList(),
    val message: String? = null,
) {
    /** Whether there is something to save. */
    val isEdited: Boolean get() = critique != null || notes != null
}

/**
 * Edits one photo after the other; knows nothing of screens, so that it lives on when one is turned.
 *
 * @param scope where its work lives; its dispatcher is the one on which [screen] is read and methods are called.
 * @param crafter opens the networks when they are first needed.
 */
class Editor(private val scope: CoroutineScope, private val crafter: suspend () -> PocketCrafter) {
    private val current = MutableStateFlow(Screen())
    private val redraws = Channel<Unit>(Channel.CONFLATED)
    private var job: Job? = null
    private var look: Look? = null
    private var restored: Restored? = null

    /** What the screen shows. */
    val screen: StateFlow<Screen> = current.asStateFlow()

    init {
        scope.launch { for (redraw in redraws) redraw() }
    }

    /**
     * Opens a photo and has it looked at; what was worked on before is left.
     *
     * @param kept sliders and strength of before a process death; `null` takes the critic's plan.
     * @param load reads the photo, off the main thread.
     */
    fun open(kept: Pair<EditPlan, Double>? = null, load: suspend () -> Opened) = start(Work.Looking) {
        look = null
        restored = null
        current.value = Screen(Work.Looking)
        val photo = load()
        current.value = Screen(Work.Looking, photo, after = photo.preview)
        val crafter = crafter()
        if (!crafter.givesNumbers()) return@start edit(photo)
        val seen = crafter.look(photo.preview)
        look = seen
        val (plan, strength) = kept ?: (seen.critique.plan to 1.0)
        current.update { it.copy(critique = seen.critique, plan = plan, strength = strength) }
        restore()
    }

    /** Takes another amount of an attribute; a tone is drawn at once, restoration when the slider rests. */
    fun slide(attribute: Attribute, amount: Double) {
        current.update { it.copy(plan = it.plan.with(attribute, amount)) }
        redraws.trySend(Unit)
    }

    /** Takes another strength, in [0, 2]. */
    fun strengthen(strength: Double) {
        current.update { it.copy(strength = strength) }
        redraws.trySend(Unit)
    }

    /** A slider was let go: restores the preview anew where its amounts of restoration have changed. */
    fun rest() {
        if (current.value.work == Work.Idle && look != null && restored?.plan != restoration()) start(Work.Looking) { restore() }
    }

    /** Goes back to the critic's plan. */
    fun reset() {
        current.update { it.copy(plan = it.critique?.plan ?: EditPlan(), strength = 1.0) }
        redraws.trySend(Unit)
        rest()
    }

    /** Puts the critique into words. */
    fun describe() = start(Work.Writing) {
        val photo = current.value.photo ?: return@start
        val crafter = crafter()
        val words = if (crafter.givesNumbers()) {
            crafter.prose(photo.preview).written.prose.thoughts
        } else {
            crafter.answer(photo.preview).run { prose?.thoughts ?: listOf(text) }
        }
        current.update { it.copy(words = words) }
    }

    /** Enhances all of the photo as the sliders say, and hands it on to be saved. */
    fun finish(save: suspend (Pixels, Exif?) -> Unit) = start(Work.Looking) {
        val shown = current.value
        val photo = shown.photo ?: return@start
        val made = enhanced(photo.full, Options(shown.strength, shown.plan.takeIf { shown.critique != null }))
        working(Work.Saving)
        save(made.pixels, photo.exif)
    }

    /** Shows a message until the next thing is done. */
    fun tell(message: String) = current.update { it.copy(message = message) }

    /** Ends what is worked on. */
    fun cancel() {
        job?.cancel()
    }

    private fun start(work: Work, block: suspend () -> Unit) {
        job?.cancel()
        job = scope.launch {
            current.update { it.copy(work = work, message = null) }
            try {
                block()
            } catch (error: CancellationException) {
                throw error
            } catch (error: PocketCrafterException) {
                tell(error.message.orEmpty())
            } catch (error: OutOfMemoryError) {
                tell("There is not enough memory for this photo: ${error.message}")
            }
            working(Work.Idle)
        }
    }

    private fun working(work: Work) = current.update { it.copy(work = work) }

    private fun restoration(): EditPlan = current.value.run {
        val scaled = plan.scaled(strength)
        EditPlan(Attribute.entries.filter { it.restores }.associateWith { scaled[it] })
    }

    /** Has an artist that takes no plan edit the preview; no slider changes that. */
    private suspend fun edit(photo: Opened) {
        val made = enhanced(photo.preview, Options())
        current.update { it.copy(after = made.pixels, notes = made.notes) }
    }

    private suspend fun enhanced(pixels: Pixels, options: Options): Enhanced = crafter().enhance(pixels, options)
        .onEach { if (it is Progress.Part) working(Work.Enhancing(it.stage, it.done, it.all)) }
        .filterIsInstance<Progress.Done>().single().enhanced

    private suspend fun restore() {
        val photo = current.value.photo ?: return
        val asked = restoration()
        if (restored?.plan != asked) {
            restored = Restored(asked, if (asked.restores) enhanced(photo.preview, Options(plan = asked)).pixels else photo.preview)
        }
        redraws.trySend(Unit)
    }

    private suspend fun redraw() {
        val shown = current.value
        val from = restored?.pixels ?: return
        val grid = look?.grid ?: return
        val plan = shown.plan.scaled(shown.strength)
        val after = withContext(Dispatchers.Default) {
            if (plan.changesTones) Developer.develop(from, plan, grid.blended(shown.strength)) else from
        }
        current.update { if (it.photo === shown.photo) it.copy(after = after) else it }
    }

    private class Restored(val plan: EditPlan, val pixels: Pixels)
}
