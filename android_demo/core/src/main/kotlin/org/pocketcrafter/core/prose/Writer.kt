package org.pocketcrafter.core.prose

import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.ShapeException
import org.pocketcrafter.core.generated.Constants.PROSE_CHANNELS
import org.pocketcrafter.core.generated.Constants.PROSE_HEADS
import org.pocketcrafter.core.generated.Constants.PROSE_LAYERS
import org.pocketcrafter.core.generated.Constants.PROSE_LENGTH
import org.pocketcrafter.core.generated.Constants.PROSE_WORDS
import org.pocketcrafter.core.generated.Constants.TOKENS
import org.pocketcrafter.core.generated.Constants.TOKEN_DIM

/**
 * A critique in words, and how it was written.
 *
 * @property ids the words after the prompt.
 * @property choices how many of them the decoder chose; the others are the only ones that the grammar allows.
 * @property steps runs of the decoder, the prompt's included.
 */
data class Written(val prose: Prose, val ids: List<Int>, val choices: Int, val steps: Int)

/** Writes critiques with one decoder: the greedy loop inside the grammar. Keeps nothing between them. */
class Writer(private val decoder: Runner, private val vocabulary: Vocabulary) {
    /**
     * Writes the critique of one photo.
     *
     * @param tokens the critic's plan tokens, shape `(TOKENS, TOKEN_DIM)`.
     * @param cancelled asked before every step; `true` ends the loop.
     * @return the critique, or `null` where it was cancelled.
     * @throws ShapeException if the tokens have another size.
     * @throws RunnerException if the decoder fails.
     */
    fun write(tokens: FloatArray, stated: Stated, mode: Mode, cancelled: () -> Boolean = { false }): Written? {
        if (tokens.size != TOKENS * TOKEN_DIM) throw ShapeException("Plan tokens have ${TOKENS * TOKEN_DIM} values, not ${tokens.size}.")
        val steps = Steps()
        var logits = FloatArray(0)
        for (token in 0 until TOKENS) {
            if (cancelled()) return null
            steps.run(FloatArray(PROSE_WORDS), tokens.copyOfRange(token * TOKEN_DIM, (token + 1) * TOKEN_DIM))
        }
        for (word in Prompt.words(stated, mode)) {
            if (cancelled()) return null
            logits = steps.take(vocabulary.id(word))
        }
        val grammar = Grammar(vocabulary, Outline.of(stated, mode), stated.score)
        val ids = mutableListOf<Int>()
        var state = State()
        var choices = 0
        while (true) {
            grammar.ending(state)?.let { ending ->
                ids += ending
                return Written(Prose.parse(vocabulary.text(ids)), ids, choices, steps.taken)
            }
            if (cancelled()) return null
            val allowed = grammar.allowed(state)
            // The first of the highest, as Python's argmax has it.
            val word = allowed.maxBy { logits[it] }
            if (allowed.size > 1) choices++
            ids += word
            state = grammar.advance(state, word)
            if (grammar.ending(state) == null) logits = steps.take(word)
        }
    }

    /** The decoder's caches, and how far they are filled. */
    private inner class Steps {
        private val keys = List(PROSE_LAYERS) { FloatArray(CACHE) }
        private val values = List(PROSE_LAYERS) { FloatArray(CACHE) }
        var taken = 0
            private set

        fun take(word: Int): FloatArray = run(oneHot(word, PROSE_WORDS), FloatArray(TOKEN_DIM))

        fun run(word: FloatArray, soft: FloatArray): FloatArray {
            val inputs = mutableMapOf("word" to word, "soft" to soft, "position" to oneHot(taken, PROSE_LENGTH))
            for (layer in 0 until PROSE_LAYERS) {
                inputs["keys_$layer"] = keys[layer]
                inputs["values_$layer"] = values[layer]
            }
            val said = decoder.run(inputs)
            keep(keys, output(said, "key", ROWS))
            keep(values, output(said, "value", ROWS))
            taken++
            return output(said, "logits", PROSE_WORDS)
        }

        private fun keep(caches: List<FloatArray>, rows: FloatArray) {
            for (layer in 0 until PROSE_LAYERS) {
                for (head in 0 until PROSE_HEADS) {
                    val from = (layer * PROSE_HEADS + head) * PROSE_CHANNELS
                    rows.copyInto(caches[layer], (head * PROSE_LENGTH + taken) * PROSE_CHANNELS, from, from + PROSE_CHANNELS)
                }
            }
        }

        private fun output(said: Map<String, FloatArray>, name: String, size: Int): FloatArray =
            said[name]?.takeIf { it.size == size } ?: throw RunnerException("The decoder gave no `$name` of $size values.")
    }

    private companion object {
        const val CACHE = PROSE_HEADS * PROSE_LENGTH * PROSE_CHANNELS
        const val ROWS = PROSE_LAYERS * PROSE_HEADS * PROSE_CHANNELS

        fun oneHot(index: Int, size: Int) = FloatArray(size).also { it[index] = 1f }
    }
}
