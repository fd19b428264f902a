package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.generated.Constants.MASKED
import kotlin.math.cos
import kotlin.math.sin

/** Where words of a text are: one number for each word, or one on each axis where a picture's tokens lie in rows. */
class Positions(val axes: List<IntArray>) {
    /** How many words they are of. */
    val count: Int get() = axes.first().size

    companion object {
        /** A text's, one after the other. */
        fun of(first: Int, count: Int) = Positions(listOf(IntArray(count) { first + it }))
    }
}

/** Rotary position embeddings: cosines and sines of positions. */
class Rotary(private val settings: RotarySettings) {
    private val half = settings.frequencies.size
    private val axisOf: IntArray = axes()

    /** Values of a position: twice the frequencies. */
    val width: Int get() = 2 * half

    /**
     * Returns cosines and sines, each of shape `(positions, width)`.
     *
     * The angle is a product of floats, as where models are trained.
     *
     * @throws ConfigException if the positions do not have the model's axes; a text's may come as one axis.
     */
    fun at(positions: Positions): Pair<FloatArray, FloatArray> {
        val wanted = maxOf(1, settings.sections.size)
        if (positions.axes.size != 1 && positions.axes.size != wanted) {
            throw ConfigException("Positions have $wanted axes here; they came with ${positions.axes.size}.")
        }
        val cosines = FloatArray(positions.count * width)
        val sines = FloatArray(positions.count * width)
        for (n in 0 until positions.count) {
            for (frequency in 0 until half) {
                val axis = if (positions.axes.size == 1) 0 else axisOf[frequency]
                val angle = (positions.axes[axis][n].toFloat() * settings.frequencies[frequency]).toDouble()
                for (place in listOf(n * width + frequency, n * width + half + frequency)) {
                    cosines[place] = cos(angle).toFloat() * settings.scale
                    sines[place] = sin(angle).toFloat() * settings.scale
                }
            }
        }
        return cosines to sines
    }

    /** Which axis of a position turns each frequency. */
    private fun axes(): IntArray {
        val sections = settings.sections.ifEmpty { listOf(half) }
        if (!settings.interleaved && sections.sum() != half) {
            throw BundleException("Axes of positions turn ${sections.sum()} frequencies; there are $half.")
        }
        return if (settings.interleaved) {
            // The axes take turns as long as they have some left; the first has the others.
            IntArray(half) { n -> (n % sections.size).takeIf { n < sections.size * sections[it] } ?: 0 }
        } else {
            sections.flatMapIndexed { axis, count -> List(count) { axis } }.toIntArray()
        }
    }
}

/**
 * What reading some positions gave.
 *
 * @property logits of the word that follows the last of them.
 * @property hidden hidden states of each, `(positions, width)`.
 */
class Read(val logits: FloatArray, val hidden: FloatArray)

/**
 * One text in a language model: the caches of what was read of it.
 *
 * @param language the opened component.
 * @param component its contract, with the function [PREFILL] beside the step.
 * @throws BundleException if the contract lacks something that reading needs.
 */
class Text(private val language: Runner, component: Component, private val rotary: Rotary) {
    private val step = component.of(null)
    private val prefill = component.of(PREFILL)
    private val chunk = prefill.input("embeddings").shape[0]
    private val width = step.input("embeddings").shape[1]
    private val caches = listOf("keys", "values").map { FloatArray(step.input(it).size) }
    private val cache = step.input("keys").shape
    private val length = cache[2]

    /** Positions that were read. */
    var count = 0
        private set

    init {
        if (cache.size != 4 || step.input("values").shape != cache || step.input("cosines").shape[1] != rotary.width) {
            throw BundleException("The language model's caches or rotations are not of the form that is read here.")
        }
    }

    /**
     * Reads further positions.
     *
     * @param embeddings vectors of one or more positions, one after the other.
     * @throws ConfigException if there is no position, or the caches have no room for so many.
     * @throws RunnerException if the network fails.
     */
    fun read(embeddings: FloatArray, positions: Positions): Read {
        val total = embeddings.size / width
        if (total < 1 || total > length - count || positions.count != total) {
            throw ConfigException(
                "$total positions to read; the language model has read $count and holds $length: shorten the text, or build it with longer caches.",
            )
        }
        val (cosines, sines) = rotary.at(positions)
        val size = if (total == 1) 1 else chunk
        val hidden = mutableListOf<FloatArray>()
        var logits = FloatArray(0)
        for (start in 0 until total step size) {
            val until = minOf(start + size, total)
            val rows = listOf(embeddings to width, cosines to rotary.width, sines to rotary.width)
                .map { (values, wide) -> values.copyOfRange(start * wide, until * wide).copyOf(size * wide) }
            val outputs = language.run(inputs(rows, until - start, size), if (size == 1) null else PREFILL)
            keep(outputs, until - start, size)
            logits = outputs.getValue("logits")
            val states = outputs.getValue("hidden")
            hidden += states.copyOf(states.size / size * (until - start))
        }
        return Read(logits, joined(hidden))
    }

    private fun inputs(rows: List<FloatArray>, count: Int, size: Int): Map<String, FloatArray> {
        val wide = length + size
        val mask = FloatArray(size * wide) { at ->
            val (row, column) = at / wide to at % wide
            val seen = if (column < length) column < this.count else column - length <= row
            if (seen) 0f else MASKED.toFloat()
        }
        val pick = FloatArray(size).also { it[count - 1] = 1f }
        val (embeddings, cosines, sines) = rows
        return mapOf(
            "embeddings" to embeddings, "cosines" to cosines, "sines" to sines, "mask" to mask,
            "keys" to caches[0], "values" to caches[1], "pick" to pick,
        )
    }

    /** Writes what the positions add to the caches, behind what is there. */
    private fun keep(outputs: Map<String, FloatArray>, count: Int, size: Int) {
        val channels = cache[3]
        for ((kept, name) in caches.zip(listOf("new_keys", "new_values"))) {
            val new = outputs.getValue(name)
            for (head in 0 until cache[0] * cache[1]) {
                val from = head * size * channels
                new.copyInto(kept, (head * length + this.count) * channels, from, from + count * channels)
            }
        }
        this.count += count
    }

    companion object {
        /** The function that reads a chunk of positions; the default one reads a single one. */
        const val PREFILL = "prefill"
    }
}

/** Arrays, one after the other. */
internal fun joined(parts: List<FloatArray>): FloatArray {
    val out = FloatArray(parts.sumOf { it.size })
    parts.fold(0) { at, part -> part.copyInto(out, at).let { at + part.size } }
    return out
}
