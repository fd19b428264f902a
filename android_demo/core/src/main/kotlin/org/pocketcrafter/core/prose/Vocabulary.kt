package org.pocketcrafter.core.prose

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.bundle.Json
import org.pocketcrafter.core.bundle.JsonException
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.PROSE_WORDS
import org.pocketcrafter.core.generated.Wording

/**
 * The decoder's vocabulary.
 *
 * @property texts the text of each id; empty where an id is not used.
 * @property plain the ids that may stand inside a sentence, ascending: printable ASCII, no angle brackets, no digits.
 */
class Vocabulary private constructor(val texts: List<String>, private val ids: Map<String, Int>, val plain: List<Int>) {
    /** The id of a special word or single character. */
    fun id(word: String): Int = ids.getValue(word)

    /** What people see of ids: hidden words have no text, amounts that of the plan words before them. */
    fun text(ids: List<Int>): String = buildString {
        var amount = ""
        var stops = ""
        for (word in ids.map { texts[it] }) {
            STATED[word]?.let { (attribute, step) ->
                amount = step.text
                if (attribute == Attribute.EXPOSURE) stops = Wording.STOPS[kotlin.math.abs(step.amount)] ?: ""
            }
            append(
                when (word) {
                    AMOUNT -> amount
                    STOPS_WORD -> stops
                    in HIDDEN -> ""
                    else -> word
                },
            )
        }
    }

    companion object {
        /** Stands for the amount of the last plan word, as a number. */
        const val AMOUNT = "<amount>"

        /** Stands for the last exposure, in stops. */
        const val STOPS_WORD = "<stops>"
        private const val MAX_BYTES = 1 shl 20
        private val STATED = Wording.LADDERS.flatMap { (attribute, steps) -> steps.map { it.word to (attribute to it) } }.toMap()
        private val HIDDEN = Prompt.WORDS.toSet()
        private val SPECIAL = Wording.MARKS + Prompt.WORDS + AMOUNT + STOPS_WORD
        private val LETTERS: Set<String> = (
            "0123456789." +
                (Wording.INSTRUCTIONS.flatMap { it.phrases } + Wording.NO_CHANGE).joinToString("") { it.replace("{amount}", "") }
            ).map { it.toString() }.toSet()

        /**
         * Reads a file of the `tokenizers` format: byte-level BPE with the special words added.
         *
         * @throws BundleException if it is none, or lacks a word that prose needs.
         */
        fun read(content: ByteArray): Vocabulary {
            if (content.size > MAX_BYTES) throw BundleException("A vocabulary has $MAX_BYTES bytes at most, not ${content.size}.")
            try {
                return parse(Json.parse(content.decodeToString(throwOnInvalidSequence = true)))
            } catch (error: JsonException) {
                throw BundleException("The vocabulary is not JSON: ${error.message}", error)
            } catch (error: CharacterCodingException) {
                throw BundleException("The vocabulary is not UTF-8.", error)
            }
        }

        private fun parse(content: Any?): Vocabulary {
            val special = SPECIAL.toSet()
            val texts = Array(PROSE_WORDS) { "" }
            val words = member(member(content, "model"), "vocab") as? Map<*, *> ?: refuse("it has no words")
            for ((symbols, id) in words) if (symbols !in special) put(texts, id, decoded(symbols as String))
            val added = member(content, "added_tokens") as? List<*> ?: refuse("it has no special words")
            for (token in added) put(texts, member(token, "id"), member(token, "content"))
            val ids = texts.withIndex().filter { (_, text) -> text in special || text.codePointCount(0, text.length) == 1 }
                .associate { (id, text) -> text to id }
            (SPECIAL + LETTERS).firstOrNull { it !in ids }?.let { refuse("it lacks `$it`") }
            return Vocabulary(texts.toList(), ids, texts.indices.filter { texts[it] !in special && isProse(texts[it]) })
        }

        private fun put(texts: Array<String>, id: Any?, text: Any?) {
            val place = (id as? Long)?.takeIf { it in texts.indices }?.toInt() ?: refuse("`$text` has the id $id")
            if (text !is String || texts[place].isNotEmpty()) refuse("`$text` has the id $id")
            texts[place] = text
        }

        private fun member(value: Any?, key: String): Any? = (value as? Map<*, *>)?.get(key) ?: refuse("it lacks `$key`")

        private fun refuse(why: String): Nothing = throw BundleException("Not a vocabulary of this decoder: $why.")

        private fun isProse(text: String): Boolean =
            text.isNotEmpty() && text.all { it in ' '..'~' && it !in "<>0123456789" }

        private fun decoded(symbols: String): String =
            if (symbols.all { it in BYTES }) bytes(symbols).decodeToString() else refuse("`$symbols` is not spelled in bytes")

        /** The bytes that a word of byte-level BPE stands for; a word with other symbols stands for itself. */
        internal fun bytes(word: String): ByteArray =
            if (word.all { it in BYTES }) ByteArray(word.length) { BYTES.getValue(word[it]).toByte() } else word.encodeToByteArray()

        /** The printable symbols of byte-level BPE (Radford et al., 2019) and the bytes that they stand for. */
        private val BYTES: Map<Char, Int> = run {
            val printable = (33..126) + (161..172) + (174..255)
            val others = (0..255) - printable.toSet()
            printable.associateBy { it.toChar() } + others.withIndex().associate { (n, byte) -> (256 + n).toChar() to byte }
        }
    }
}
