package org.pocketcrafter.core.prose

import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.PROSE_LENGTH
import org.pocketcrafter.core.generated.Constants.TOKENS
import org.pocketcrafter.core.generated.Wording

/**
 * Where a critique stands.
 *
 * @property slot the slot that is being written; their number when only the answer is left.
 * @property given how many of its given words are written.
 * @property words how many of its free words are.
 * @property stops exposures told in stops among them.
 * @property stopped whether the last word ended a sentence.
 * @property text what an instruction says so far.
 * @property used positions that are taken, prompt included.
 */
data class State(
    val slot: Int = 0,
    val given: Int = 0,
    val words: Int = 0,
    val stops: Int = 0,
    val stopped: Boolean = false,
    val text: String = "",
    val used: Int = TOKENS + Prompt.LENGTH,
)

/**
 * The grammar of one critique: which words may come next, so that malformed text cannot be written.
 *
 * A critique is a row of slots: given words (marks, and the hidden words of the outline), then a sentence: of free
 * words, of bounded length, that ends with a full stop; or, in the edit block, one of the instructions that are read
 * back, to the letter. Nothing still owed is ever crowded out of the decoder's positions.
 */
class Grammar(private val vocabulary: Vocabulary, told: Outline, score: Double) {
    private class Slot(val given: List<Int>, val stops: Boolean = false, val sentences: List<String> = emptyList())

    private val spelling = Spelling(vocabulary)
    private val stop = vocabulary.id(STOP)
    private val stopsWord = vocabulary.id(Vocabulary.STOPS_WORD)
    private val ends = vocabulary.plain.filter { vocabulary.texts[it].endsWith(STOP) }.toSet()
    private val withStops = (vocabulary.plain + stopsWord).sorted()
    private val endEdit = vocabulary.id(END_EDIT)
    private val slots = slots(told)

    /** Words that are still owed after each slot: the answer's mark, and the shortest form of every later slot. */
    private val owed: List<Int> = slots.indices.map { n -> 1 + slots.drop(n + 1).sumOf { it.given.size + fewest(it) } }
    private val ending: List<Int> = buildList {
        add(vocabulary.id(ANSWER))
        Math.rint(score.coerceIn(0.0, 100.0)).toInt().toString().forEach { add(vocabulary.id(it.toString())) }
        add(vocabulary.id(END))
    }

    /** The ids that may follow, ascending; one id means that there is no choice. */
    fun allowed(state: State): List<Int> {
        val slot = slots[state.slot]
        if (state.given < slot.given.size) return listOf(slot.given[state.given])
        val room = PROSE_LENGTH - state.used - owed[state.slot]
        if (slot.sentences.isNotEmpty()) {
            if (state.text in slot.sentences) return listOf(firstAfter(state.slot))
            return spelling.goingOn(state.text, slot.sentences, room)
        }
        return when {
            state.stopped && state.words >= LEAST_WORDS -> listOf(firstAfter(state.slot))
            minOf(MOST_WORDS - state.words, room) <= 1 -> listOf(stop)
            slot.stops && state.stops == 0 -> withStops
            else -> vocabulary.plain
        }
    }

    /** The state after a word that [allowed] names. */
    fun advance(state: State, word: Int): State {
        val slot = slots[state.slot]
        val used = state.used + 1
        if (state.given < slot.given.size) return state.copy(given = state.given + 1, used = used)
        if (state.words > 0 && word == firstAfter(state.slot)) return State(state.slot + 1, given = 1, used = used)
        return state.copy(
            words = state.words + 1,
            stops = state.stops + if (word == stopsWord) 1 else 0,
            stopped = word in ends,
            text = if (slot.sentences.isEmpty()) "" else state.text + vocabulary.texts[word],
            used = used,
        )
    }

    /** The rest of the critique once there is no choice left in it, `null` while there is. */
    fun ending(state: State): List<Int>? = if (state.slot == slots.size) ending else null

    private fun firstAfter(slot: Int): Int = slots.getOrNull(slot + 1)?.given?.first() ?: endEdit

    private fun fewest(slot: Slot): Int = slot.sentences.minOfOrNull(spelling::fewest) ?: (LEAST_WORDS + 1)

    private fun slots(told: Outline): List<Slot> = buildList {
        var marks = listOf(THINK)
        for ((part, sentences) in PARTS.zip(told.thoughts)) {
            marks = marks + part
            for (sentence in sentences) {
                val stops = sentence.topic == Topic.FAULTS && Attribute.EXPOSURE in sentence.attributes
                add(Slot((marks + sentence.words).map(vocabulary::id), stops))
                marks = emptyList()
            }
        }
        marks = listOf(END_THINK, EDIT)
        for (item in told.items) {
            add(Slot((marks + ITEM + item.words).map(vocabulary::id), sentences = Spelling.sentencesOf(item)))
            marks = emptyList()
        }
    }

    private companion object {
        const val STOP = "."
        const val MOST_WORDS = 48
        const val LEAST_WORDS = 2
        val THINK = Wording.MARKS[0]
        val PARTS = Wording.MARKS.subList(1, 6)
        val END_THINK = Wording.MARKS[6]
        val EDIT = Wording.MARKS[7]
        val ITEM = Wording.MARKS[8]
        val END_EDIT = Wording.MARKS[9]
        val ANSWER = Wording.MARKS[10]
        val END = Wording.MARKS[11]
    }
}
