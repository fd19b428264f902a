package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.photo.Planes

/**
 * What the critic said of a photo.
 *
 * @property ids words of the answer, the one that ended it too.
 * @property hidden hidden states of the prompt and of each word of the answer but the last, which nothing has read.
 */
class Answer(val ids: List<Int>, val hidden: FloatArray)

/**
 * Writes answers, greedily.
 *
 * @param vision the opened vision encoder.
 * @param language the opened language model.
 * @param component the language model's contract.
 * @param table vectors of its words.
 * @param settings the prompt, and what ends an answer.
 * @throws BundleException if prompt or stops have words that the table has not.
 */
class LatentCritic(
    private val vision: Runner,
    private val language: Runner,
    private val component: Component,
    private val table: WordTable,
    private val settings: CriticSettings,
) {
    private val rotary = Rotary(settings.rotary)
    private val width = component.of(null).input("embeddings").shape[1]

    init {
        (settings.prompt + settings.stops).find { it !in 0 until table.words }?.let {
            throw BundleException("The prompt has the word $it, and the table of word vectors has ${table.words}.")
        }
        if (table.width > width) throw BundleException("Word vectors have ${table.width} values; the language model takes $width.")
    }

    /**
     * Reads a picture and the prompt; nothing is written yet.
     *
     * @param picture as [Pictures.critics] makes it.
     * @throws RunnerException if a network fails.
     */
    fun begin(picture: Planes): Conversation {
        val tokens = vision.run(mapOf("pixels" to picture.values)).getValue("tokens")
        val text = Text(language, component, rotary)
        val read = text.read(embedded(tokens), promptPositions(settings))
        return Conversation(text, read, ::words, settings)
    }

    /**
     * Returns the vectors of the whole prompt: the picture's tokens in their places.
     *
     * @param tokens what the vision encoder gives, as wide as what the language model reads.
     * @throws BundleException if the prompt has another number of places.
     */
    private fun embedded(tokens: FloatArray): FloatArray {
        val vectors = words(settings.prompt)
        val places = settings.prompt.indices.filter { settings.prompt[it] == settings.pictureToken }
        if (places.size * width != tokens.size) {
            throw BundleException("The prompt has places for ${places.size} tokens of a picture; the vision encoder gives ${tokens.size / width}.")
        }
        places.forEachIndexed { n, place -> tokens.copyInto(vectors, place * width, n * width, (n + 1) * width) }
        return vectors
    }

    /** What the language model reads of words: their vectors, and nothing where it reads more of pictures. */
    private fun words(ids: List<Int>): FloatArray = joined(ids.map { table.vector(it).copyOf(width) })

    companion object {
        /** Where the words of a prompt are; on three axes where a picture's tokens lie in rows. */
        fun promptPositions(settings: CriticSettings): Positions {
            val count = settings.prompt.size
            val rows = settings.rows ?: return Positions.of(0, count)
            val first = settings.prompt.indexOf(settings.pictureToken)
            val behind = first + rows * rows
            if (behind > count) throw BundleException("The prompt has no place for $rows rows of a picture's tokens.")
            val axes = List(3) { axis ->
                IntArray(count) { n ->
                    when {
                        n < first -> n
                        n >= behind -> first + rows + n - behind
                        else -> first + listOf(0, (n - first) / rows, (n - first) % rows)[axis]
                    }
                }
            }
            return Positions(axes)
        }
    }
}

/** A prompt that was read, and the answer as far as it is written; it goes on where it was left. */
class Conversation internal constructor(
    private val text: Text,
    private var last: Read,
    private val words: (List<Int>) -> FloatArray,
    private val settings: CriticSettings,
) {
    private val hidden = mutableListOf(last.hidden)
    private val ids = mutableListOf<Int>()

    /** How far a word's position is from how many were read: tokens of a picture in rows share some. */
    private val ahead = settings.rows?.let { it - it * it } ?: 0

    /** Whether the answer is whole: it came to a stop, or is as long as answers may be. */
    val ended: Boolean get() = ids.isNotEmpty() && (ids.last() in settings.stops || ids.size == settings.longestAnswer)

    /**
     * Returns the hidden states of the prompt and of the answer's first words, writing them where they are not yet.
     *
     * @param count how many words are read; there are fewer where the answer ends. `null` reads all.
     * @param progress told how many words of at most how many are written; what it throws ends the work between two words.
     * @return `(positions, width)`.
     * @throws RunnerException if a network fails, or gives numbers that are not finite.
     */
    fun states(count: Int?, progress: (Int, Int) -> Unit = { _, _ -> }): FloatArray {
        while (!ended && (count == null || hidden.size <= count)) {
            write(progress)
            if (!ended) {
                last = text.read(words(ids.takeLast(1)), Positions.of(text.count + ahead, 1))
                hidden += last.hidden
            }
        }
        return joined(if (count == null) hidden else hidden.take(count + 1))
    }

    /** Writes the rest of the answer; progress and errors as for [states]. */
    fun finish(progress: (Int, Int) -> Unit = { _, _ -> }): Answer {
        val states = states(null, progress)
        return Answer(ids.toList(), states)
    }

    private fun write(progress: (Int, Int) -> Unit) {
        if (!last.logits.all { it.isFinite() }) throw RunnerException("The language model gave logits that are not finite.")
        // The first of the highest, as Python's argmax has it.
        ids += last.logits.indices.maxBy { last.logits[it] }
        progress(ids.size, settings.longestAnswer)
    }
}
