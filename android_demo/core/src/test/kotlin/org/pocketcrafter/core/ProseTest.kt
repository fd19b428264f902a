package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Constants.PROSE_CHANNELS
import org.pocketcrafter.core.generated.Constants.PROSE_HEADS
import org.pocketcrafter.core.generated.Constants.PROSE_LAYERS
import org.pocketcrafter.core.generated.Constants.PROSE_WORDS
import org.pocketcrafter.core.generated.Constants.TOKENS
import org.pocketcrafter.core.generated.Constants.TOKEN_DIM
import org.pocketcrafter.core.generated.Wording
import org.pocketcrafter.core.prose.Mode
import org.pocketcrafter.core.prose.Outline
import org.pocketcrafter.core.prose.Prompt
import org.pocketcrafter.core.prose.Prose
import org.pocketcrafter.core.prose.Sentence
import org.pocketcrafter.core.prose.Stated
import org.pocketcrafter.core.prose.Vocabulary
import org.pocketcrafter.core.prose.Writer
import org.junit.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull

/** Critiques are written and read as in Python, word by word. */
class ProseTest {
    private val vocabulary = Vocabulary.read(Vectors.vocabulary)

    @Test
    fun `words, and which of them sentences are made of, are Python's`() {
        val case = Vectors.of("vocabulary").single()
        assertEquals(case.texts("texts"), vocabulary.texts)
        assertEquals(case.ints("plain"), vocabulary.plain)
        for (said in Vectors.of("text")) assertEquals(said.text("text"), vocabulary.text(said.ints("ids")))
    }

    @Test
    fun `a damaged vocabulary is refused`() {
        val text = Vectors.vocabulary.decodeToString()
        for (damaged in listOf("", "[]", text.dropLast(2), text.replaceFirst("<think>", "<thonk>"), text.replaceFirst("\"id\":", "\"no\":"))) {
            assertFailsWith<BundleException> { Vocabulary.read(damaged.encodeToByteArray()) }
        }
    }

    @Test
    fun `amounts are stated on Python's ladders`() {
        for (case in Vectors.of("words_of_ladders")) {
            val attribute = attribute(case.text("attribute"))
            assertEquals(case.cases("steps").map { it.text("word") to it.text("text") }, Wording.LADDERS.getValue(attribute).map { it.word to it.text })
            for (near in case.cases("nearest")) assertEquals(near.double("step"), Stated.nearest(attribute, near.double("amount")).amount)
        }
        for (case in Vectors.of("score_word")) assertEquals(case.text("word"), Prompt.scoreWord(case.double("score")))
    }

    @Test
    fun `prompts and outlines are Python's`() {
        for (case in Vectors.of("prompt")) {
            val stated = Stated.of(case.plan("plan"), case.gate("gate"), case.double("score"))
            val mode = mode(case)
            assertEquals(stated(case), Attribute.entries.associate { it.key to stated[it]?.amount })
            assertEquals(case.int("voice"), stated.voice)
            assertEquals(case.texts("words"), Prompt.words(stated, mode))
            val told = Outline.of(stated, mode)
            assertEquals(case.of("outline").cases("items").map(::sentence), told.items.map(::spelled))
            val thoughts = (case.of("outline")["thoughts"] as List<*>).map { some -> (some as List<*>).map { sentence(Case(asObject(it))) } }
            assertEquals(thoughts, told.thoughts.map { it.map(::spelled) })
        }
    }

    @Test
    fun `greedy decoding inside the grammar takes Python's words`() {
        for (case in Vectors.of("decode")) {
            val steps = stated(case).mapKeys { attribute(it.key) }
                .mapValues { (attribute, amount) -> amount?.let { Stated.nearest(attribute, it) } }
            val stated = Stated(steps, case.double("score"))
            val written = Writer(ScriptedDecoder(case.int("seed")), vocabulary).write(FloatArray(TOKENS * TOKEN_DIM), stated, mode(case))!!
            assertEquals(case.ints("ids"), written.ids)
            assertEquals(case.text("text"), written.prose.text)
            assertEquals(case.int("choices") to case.int("steps"), written.choices to written.steps)
        }
    }

    @Test
    fun `a cancelled critique ends at the next step`() {
        var asked = 0
        val decoder = ScriptedDecoder(1)
        val written = Writer(decoder, vocabulary).write(FloatArray(TOKENS * TOKEN_DIM), Stated(emptyMap(), 50.0), Mode.SHORT) { ++asked > 30 }
        assertNull(written)
        assertEquals(30, decoder.runs)
    }

    @Test
    fun `critiques are read, or refused, as Python does`() {
        for (case in Vectors.of("parse")) {
            if (case["prose"] == null) {
                assertFailsWith<ProseException>(case.text("text").take(200)) { Prose.parse(case.text("text")) }
                continue
            }
            val expected = case.of("prose")
            val prose = Prose.parse(case.text("text"))
            assertEquals(expected.texts("thoughts"), prose.thoughts)
            assertEquals(said(expected, "faults"), prose.faults.map { Triple(it.attribute, it.direction, it.amount) })
            assertEquals(said(expected, "instructions"), prose.instructions.map { Triple(it.attribute, it.direction, it.amount) })
            assertEquals(expected.texts("unread") to expected.int("score"), prose.unread to prose.score)
        }
    }

    /** Python's `ScriptedDecoder`: logits follow from word, position and seed. */
    private class ScriptedDecoder(private val seed: Int) : Runner {
        var runs = 0

        override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
            runs++
            val place = index(inputs.getValue("position")) * PROSE_WORDS.toLong() + index(inputs.getValue("word"))
            val logits = FloatArray(PROSE_WORDS) { word ->
                val mixed = (word * 2654435761L + place * 40503L + seed * 2246822519L) and MASK
                ((mixed * 2246822519L and MASK) shr 8).toFloat() / (1 shl 24)
            }
            val rows = FloatArray(PROSE_LAYERS * PROSE_HEADS * PROSE_CHANNELS)
            return mapOf("logits" to logits, "key" to rows, "value" to rows)
        }

        override fun close() = Unit

        private fun index(oneHot: FloatArray): Int = oneHot.indices.maxBy { oneHot[it] }

        private companion object {
            const val MASK = 0xFFFFFFFFL
        }
    }

    private fun attribute(key: String) = Attribute.entries.first { it.key == key }

    private fun mode(case: Case) = Mode.entries.first { it.key == case.text("mode") }

    private fun stated(case: Case): Map<String, Double?> = asObject(case["stated"]).mapValues { (it.value as Number?)?.toDouble() }

    private fun sentence(case: Case) = Triple(case.text("topic"), case.texts("words"), case.texts("attributes"))

    private fun spelled(sentence: Sentence) =
        Triple(sentence.topic.name.lowercase(), sentence.words, sentence.attributes.map { it.key })

    private fun said(case: Case, name: String) = case.cases(name).map {
        Triple(attribute(it.text("attribute")), it.int("direction"), (it["amount"] as Number?)?.toDouble())
    }
}
