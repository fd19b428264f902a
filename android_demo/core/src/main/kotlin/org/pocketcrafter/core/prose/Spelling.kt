package org.pocketcrafter.core.prose

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.PROSE_LENGTH
import org.pocketcrafter.core.generated.Wording

/** What one vocabulary can spell, a word at a time, of sentences that are given to the letter. */
internal class Spelling(vocabulary: Vocabulary) {
    private val ids: Map<String, Int> =
        (vocabulary.plain + vocabulary.id(Vocabulary.AMOUNT)).associateBy { vocabulary.texts[it] }
    private val longest = ids.keys.maxOf { it.length }
    private val fewest = hashMapOf("" to 0)

    /** The ids of words that go on with a sentence and leave it an end within [most] words, ascending. */
    fun goingOn(said: String, sentences: List<String>, most: Int): List<Int> =
        sentences.filter { it.startsWith(said) }
            .flatMap { sentence -> starts(sentence.substring(said.length)).filter { (_, rest) -> fewest(rest) < most }.map { it.first } }
            .distinct().sorted()

    /** How few words spell a text; more than a critique has where none do. */
    fun fewest(rest: String): Int =
        fewest[rest] ?: (1 + (starts(rest).minOfOrNull { fewest(it.second) } ?: PROSE_LENGTH)).also { fewest[rest] = it }

    private fun starts(rest: String): List<Pair<Int, String>> = (1..minOf(rest.length, longest)).mapNotNull { end ->
        ids[rest.take(end)]?.let { it to rest.substring(end) }
    }

    companion object {
        private val BY_WORD: Map<String, List<String>> = buildMap {
            for ((attribute, steps) in Wording.LADDERS) {
                for (step in steps.filter { it.amount != 0.0 }) put(step.word, instructions(attribute, if (step.amount > 0) 1 else -1))
            }
        }

        private fun instructions(attribute: Attribute, direction: Int): List<String> =
            Wording.INSTRUCTIONS.find { it.attribute == attribute && it.direction == direction }?.phrases.orEmpty()
                .map { it.replace("{amount}", Vocabulary.AMOUNT) }

        /** All that an item of the edit block may say, with the word for the amount in its place. */
        fun sentencesOf(item: Sentence): List<String> =
            item.words.firstOrNull()?.let(BY_WORD::getValue) ?: Wording.NO_CHANGE
    }
}
