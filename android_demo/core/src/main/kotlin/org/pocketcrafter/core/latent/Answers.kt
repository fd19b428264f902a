package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ProseException
import org.pocketcrafter.core.bundle.Json
import org.pocketcrafter.core.bundle.JsonException
import org.pocketcrafter.core.prose.Prose
import org.pocketcrafter.core.prose.Vocabulary
import java.io.ByteArrayOutputStream

/**
 * What the critic of a latent bundle says of one photo.
 *
 * @property text the whole answer, special words too, without the one that ended it.
 * @property ended whether the critic came to an end by itself.
 * @property ids words of the answer.
 * @property prose the answer taken apart; `null` where it is no critique in our form.
 * @property unread why it could not be taken apart; `null` where it was.
 */
data class LatentCritique(val text: String, val ended: Boolean, val ids: List<Int>, val prose: Prose?, val unread: String?) {
    companion object {
        /**
         * Reads a critique off an answer.
         *
         * @param ids words of the answer, the one that ended it too.
         * @param stops words that end answers.
         */
        fun of(ids: List<Int>, stops: Set<Int>, words: AnswerWords): LatentCritique {
            val ended = ids.last() in stops
            val whole = words.text(if (ended) ids.dropLast(1) else ids)
            val most = minOf(whole.codePointCount(0, whole.length), Prose.MAX_CHARACTERS)
            val text = whole.take(whole.offsetByCodePoints(0, most))
            return try {
                LatentCritique(text, ended, ids, Prose.parse(text), null)
            } catch (error: ProseException) {
                LatentCritique(text, ended, ids, null, error.message)
            }
        }
    }
}

/** A critic's vocabulary: turns ids into text. Byte-level BPE alone, which SmolVLM's and Qwen's are. */
class AnswerWords private constructor(private val bytes: Map<Int, ByteArray>) {
    /** The text of ids, special words too; ids that no word has are left out. */
    fun text(ids: List<Int>): String =
        Utf8.decoded(ByteArrayOutputStream().also { out -> ids.mapNotNull(bytes::get).forEach { out.write(it, 0, it.size) } }.toByteArray())

    companion object {
        private const val MAX_BYTES = 64 shl 20

        /**
         * Reads a file of the `tokenizers` format.
         *
         * @throws BundleException if it is none, or its words are not spelled in bytes.
         */
        fun read(content: ByteArray): AnswerWords {
            if (content.size > MAX_BYTES) throw BundleException("A tokenizer has $MAX_BYTES bytes at most, not ${content.size}.")
            val raw = try {
                Json.parse(content.decodeToString(throwOnInvalidSequence = true)) as? Map<*, *> ?: refuse("it is no object")
            } catch (error: JsonException) {
                throw BundleException("The tokenizer is not JSON: ${error.message}", error)
            } catch (error: CharacterCodingException) {
                throw BundleException("The tokenizer is not UTF-8.", error)
            }
            val decoder = (raw["decoder"] as? Map<*, *>)?.get("type")
            if (decoder != "ByteLevel") refuse("its decoder is `$decoder`, and this core reads `ByteLevel`")
            val words = (raw["model"] as? Map<*, *>)?.get("vocab") as? Map<*, *> ?: refuse("it has no words")
            val added = (raw["added_tokens"] as? List<*>).orEmpty().map { it as? Map<*, *> ?: refuse("a special word is none") }
            val spelled = words.entries.map { it.value to it.key } + added.map { it["id"] to it["content"] }
            return AnswerWords(
                spelled.associate { (id, word) ->
                    val number = (id as? Long)?.takeIf { it in 0..Int.MAX_VALUE } ?: refuse("`$word` has the id $id")
                    number.toInt() to Vocabulary.bytes(word as? String ?: refuse("the word $id has no text"))
                },
            )
        }

        private fun refuse(why: String): Nothing = throw BundleException("No tokenizer that can be read here: $why.")
    }
}

/** UTF-8 of any bytes: what is none becomes U+FFFD, one for each maximal part of a sequence, as Unicode recommends. */
internal object Utf8 {
    private const val REPLACEMENT = 0xFFFD

    fun decoded(bytes: ByteArray): String = buildString {
        var at = 0
        while (at < bytes.size) {
            val first = bytes[at].toInt() and 0xFF
            val (more, low, high) = form(first)
            var point = if (more == 0) first else first and (0x3F shr more)
            var read = 1
            while (read <= more) {
                val next = bytes.getOrNull(at + read)?.toInt()?.and(0xFF)
                val legal = if (read == 1) low..high else 0x80..0xBF
                if (next == null || next !in legal) break
                point = point shl 6 or (next and 0x3F)
                read++
            }
            appendCodePoint(if (more < 0 || read <= more) REPLACEMENT else point)
            at += read
        }
    }

    /** How many bytes follow a first one, −1 where none is legal, and the range of the second (Unicode, table 3-7). */
    private fun form(first: Int): Triple<Int, Int, Int> = when (first) {
        in 0x00..0x7F -> Triple(0, 0, 0)
        in 0xC2..0xDF -> Triple(1, 0x80, 0xBF)
        0xE0 -> Triple(2, 0xA0, 0xBF)
        0xED -> Triple(2, 0x80, 0x9F)
        in 0xE1..0xEF -> Triple(2, 0x80, 0xBF)
        0xF0 -> Triple(3, 0x90, 0xBF)
        0xF4 -> Triple(3, 0x80, 0x8F)
        in 0xF1..0xF3 -> Triple(3, 0x80, 0xBF)
        else -> Triple(-1, 0, 0)
    }
}
