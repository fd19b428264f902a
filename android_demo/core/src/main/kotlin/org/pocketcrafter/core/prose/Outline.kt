package org.pocketcrafter.core.prose

import org.pocketcrafter.core.generated.Attribute

/** What a sentence of a critique is about. */
enum class Topic { TEXTURE, LIGHT, COLORS, FAULTS, FINE, UNSEEN, SOUND, COMPOSITION, AESTHETICS, SUMMARY, EDIT }

/**
 * One sentence that is to be written.
 *
 * @property words the hidden words that stand in front of it.
 * @property attributes what it tells of.
 */
data class Sentence(val topic: Topic, val words: List<String>, val attributes: List<Attribute> = emptyList())

/**
 * What a critique says where: the sentences of its five thoughts, and one for each instruction.
 *
 * The decoder is told, and the grammar enforces, what is to be said; the decoder says it. That is how words and numbers
 * agree.
 */
data class Outline(val thoughts: List<List<Sentence>>, val items: List<Sentence>) {
    companion object {
        private val QUALITY = listOf(Attribute.DEBLUR, Attribute.DENOISE, Attribute.DEJPEG)
        private val COLOR_AND_LIGHT = Attribute.entries - QUALITY.toSet()

        /** The outline of one critique. */
        fun of(stated: Stated, mode: Mode): Outline {
            val voice = stated.voice
            val order = if (voice % 2 != 0) COLOR_AND_LIGHT + QUALITY else QUALITY + COLOR_AND_LIGHT
            val changed = order.filter(stated::changes)
            val told = changed.map(stated::word)
            val own = listOf(if (mode == Mode.FULL) Prompt.voiceWord(voice) else Prompt.modeWord(mode))
            val light = listOf(Sentence(Topic.LIGHT, own), Sentence(Topic.COLORS, listOf(Prompt.modeWord(mode))))
            return Outline(
                listOf(
                    assessed(stated, QUALITY, listOf(Sentence(Topic.TEXTURE, own)), mode, voice),
                    assessed(stated, COLOR_AND_LIGHT, light, mode, voice),
                    listOf(Sentence(Topic.COMPOSITION, own)),
                    listOf(Sentence(Topic.AESTHETICS, own)),
                    listOf(Sentence(Topic.SUMMARY, listOf(Prompt.scoreWord(stated.score)) + told, changed)),
                ),
                changed.map { Sentence(Topic.EDIT, listOf(stated.word(it)), listOf(it)) }
                    .ifEmpty { listOf(Sentence(Topic.EDIT, emptyList())) },
            )
        }

        private fun assessed(
            stated: Stated, group: List<Attribute>, facts: List<Sentence>, mode: Mode, voice: Int,
        ): List<Sentence> {
            val fine = group.filter { stated[it]?.amount == 0.0 }
            val unseen = group.filter { stated[it] == null }
            val faults = group.filter(stated::changes).chunked(if (voice % 4 != 0) 2 else 1)
                .map { Sentence(Topic.FAULTS, it.map(stated::word), it) }
            if (mode == Mode.SHORT) {
                val first = fine.ifEmpty { unseen }.take(1)
                val sound = Sentence(Topic.SOUND, listOf(Prompt.modeWord(mode)) + first.map(stated::word), first)
                return faults.ifEmpty { listOf(sound) }
            }
            val rest = listOf(Topic.FINE to fine, Topic.UNSEEN to unseen).filter { it.second.isNotEmpty() }
                .map { (topic, some) -> Sentence(topic, some.map(stated::word), some) }
            return if (voice % 3 == 0) faults + facts + rest else facts + faults + rest
        }
    }
}
