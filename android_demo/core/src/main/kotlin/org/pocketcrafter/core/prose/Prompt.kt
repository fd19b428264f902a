package org.pocketcrafter.core.prose

import org.pocketcrafter.core.EditPlan
import org.pocketcrafter.core.GateSettings
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.VOICES
import org.pocketcrafter.core.generated.Step
import org.pocketcrafter.core.generated.Wording
import java.util.zip.CRC32
import kotlin.math.abs

/** How much is written; [key] is its name in the decoder's words. */
enum class Mode(val key: String) {
    /** At length. */
    FULL("full"),

    /** In short. */
    SHORT("short"),
}

/**
 * A plan as prose states it, and the score: what the decoder is told before it writes.
 *
 * @property steps the step of each attribute's ladder; `null` for "not assessed".
 * @property score of the photo, 0 to 100.
 */
class Stated(private val steps: Map<Attribute, Step?>, val score: Double) {
    /** The step of an attribute, `null` where it is not assessed. */
    operator fun get(attribute: Attribute): Step? = steps[attribute]

    /** Whether the plan changes an attribute. */
    fun changes(attribute: Attribute): Boolean = (this[attribute]?.amount ?: 0.0) != 0.0

    /** The word for an attribute's amount. */
    fun word(attribute: Attribute): String = this[attribute]?.word ?: "<${attribute.key}:?>"

    /** The voice that tells these facts, from 0 to `VOICES - 1`: always the same for the same ones. */
    val voice: Int get() {
        // As Python spells the tuple: its CRC-32 chooses the voice there.
        val amounts = Attribute.entries.joinToString(prefix = "[", postfix = "]") { this[it]?.amount?.toString() ?: "None" }
        val facts = "(${score.toInt()}, $amounts)".encodeToByteArray()
        return (CRC32().apply { update(facts) }.value % VOICES).toInt()
    }

    companion object {
        /** What prose says of a gated plan; an attribute whose gate can never open is not assessed. */
        fun of(plan: EditPlan, gate: GateSettings, score: Double): Stated = Stated(
            Attribute.entries.associateWith {
                if (!gate.assesses(it) && plan[it] == 0.0) null else nearest(it, plan[it])
            },
            score,
        )

        /** The nearest step of an attribute's ladder; of two as near, the smaller. */
        fun nearest(attribute: Attribute, amount: Double): Step {
            val ladder = Wording.LADDERS.getValue(attribute)
            val above = ladder.indexOfFirst { it.amount >= amount }.let { if (it < 0) ladder.size else it }
            return ladder.subList(maxOf(0, above - 1), minOf(above + 1, ladder.size))
                .minWith(compareBy({ abs(it.amount - amount) }, { abs(it.amount) }))
        }
    }
}

/** The hidden words that tell the decoder what to write. */
object Prompt {
    private const val SCORE_STEP = 5

    /** How many words a prompt has. */
    val LENGTH: Int = 3 + Attribute.entries.size

    /** The words of a prompt, in order; they follow the critic's plan tokens. */
    fun words(stated: Stated, mode: Mode): List<String> =
        listOf(modeWord(mode), voiceWord(stated.voice), scoreWord(stated.score)) + Attribute.entries.map(stated::word)

    /** The word that asks for a mode. */
    fun modeWord(mode: Mode): String = "<mode:${mode.key}>"

    /** The word that asks for a voice. */
    fun voiceWord(voice: Int): String = "<voice:$voice>"

    /** The word for a score of 0 to 100, in steps of five. */
    fun scoreWord(score: Double): String = "<score:${SCORE_STEP * Math.rint(score.coerceIn(0.0, 100.0) / SCORE_STEP).toInt()}>"

    /** Every word that a prompt can hold, in the order of the vocabulary. */
    internal val WORDS: List<String> = buildList {
        Mode.entries.forEach { add(modeWord(it)) }
        (0 until VOICES).forEach { add(voiceWord(it)) }
        (0..100 step SCORE_STEP).forEach { add(scoreWord(it.toDouble())) }
        for ((attribute, steps) in Wording.LADDERS) {
            add("<${attribute.key}:?>")
            steps.forEach { add(it.word) }
        }
    }
}
