package org.pocketcrafter.core.prose

import org.pocketcrafter.core.ProseException
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.generated.Phrases
import org.pocketcrafter.core.generated.Wording

/**
 * One edit.
 *
 * @property direction the sign of the change: 1 or -1.
 * @property amount its magnitude in the attribute's own unit; `null` where it is not said.
 */
data class Instruction(val attribute: Attribute, val direction: Int, val amount: Double?)

/**
 * A critique in words, and what they mean.
 *
 * @property text the whole text.
 * @property thoughts quality; color and light; composition; aesthetic; summary.
 * @property faults what the thoughts name; they say no amounts.
 * @property instructions the edit block, as far as it was understood.
 * @property unread lines of the edit block that were not.
 * @property score 0 to 100.
 */
data class Prose(
    val text: String,
    val thoughts: List<String>,
    val faults: List<Instruction>,
    val instructions: List<Instruction>,
    val unread: List<String>,
    val score: Int,
) {
    companion object {
        /** The longest text that is read, in code points. */
        const val MAX_CHARACTERS = 20_000
        private const val MAX_INSTRUCTIONS = 64
        private const val PARTS = 5
        private const val AMOUNT = "([0-9]{1,3}(?:\\.[0-9]{1,2})?)"
        private val NUMBERED = Regex("^[ \\t]*([1-9])[.)][ \\t]+", RegexOption.MULTILINE)
        private val BLANKS = Regex("[\\s\\u001C-\\u001F\\u0085\\p{Z}]+")
        private val LINE_ENDS = Regex("\\r\\n|[\\n\\r\\u000B\\u000C\\u001C-\\u001E\\u0085\\u2028\\u2029]")
        private val ANSWER = Regex("<answer>\\s*([0-9]{1,3})(?:\\.[0-9]{1,9})?\\s*(?:</answer>|\\z)")

        private val GAPS: Map<String, String> = (Wording.FILLERS + ("stops" to Wording.STOPS.values.toList()))
            .mapValues { (_, words) -> words.joinToString("|", "(?:", ")") { Regex.escape(it) } } + ("amount" to AMOUNT)
        private val GAP = Regex("\\{([a-z]+)\\}")
        private val CLAUSES: List<Pair<Phrases, Regex>> = Wording.CLAUSES.map { clauses ->
            clauses to Regex(clauses.phrases.joinToString("|") { "\\b${pattern(it)}\\b" }, RegexOption.IGNORE_CASE)
        }
        private val INSTRUCTIONS: List<Pair<Phrases, List<Regex>>> =
            Wording.INSTRUCTIONS.map { lines -> lines to lines.phrases.map { Regex(pattern(it)) } }

        /**
         * Parses a critique, from any source, trusted or not.
         *
         * @throws ProseException with the first thing that is missing, out of order or too long.
         */
        fun parse(text: String): Prose {
            val length = text.codePointCount(0, text.length)
            if (length > MAX_CHARACTERS) throw ProseException("The critique has $length characters; $MAX_CHARACTERS are the most that is read.")
            val (think, afterThoughts) = between(text, "<think>", listOf("</think>"), "five thoughts")
            val (edit, rest) = between(afterThoughts, "<edit_start>", listOf("</edit_end>", "<edit_start>"), "edit block")
            val thoughts = thoughts(think)
            val lines = edit.split(LINE_ENDS).map { stripped(stripped(it).trimStart('-', '*')) }.filter { it.isNotEmpty() }
            if (lines.isEmpty()) throw ProseException("The edit block is empty; it says at least one thing, such as ${Wording.NO_CHANGE[0]}")
            if (lines.size > MAX_INSTRUCTIONS) throw ProseException("The edit block has ${lines.size} lines; $MAX_INSTRUCTIONS are the most that is read.")
            val read = lines.map { it to instruction(it) }
            return Prose(
                text,
                thoughts,
                faults(thoughts.joinToString("\n")),
                read.mapNotNull { it.second },
                read.filter { (line, said) -> said == null && line !in Wording.NO_CHANGE }.map { it.first },
                score(rest),
            )
        }

        private fun faults(thoughts: String): List<Instruction> = CLAUSES.filter { (_, said) -> said.containsMatchIn(thoughts) }
            .map { (clauses, _) -> Instruction(clauses.attribute, clauses.direction, null) }

        /** What stands between an opener and the first closer after it, and the rest. */
        private fun between(text: String, opener: String, closers: List<String>, what: String): Pair<String, String> {
            val found = text.indexOf(opener)
            if (found < 0) throw ProseException("The critique has no $what: $opener is missing.")
            val start = found + opener.length
            val (end, closer) = text.findAnyOf(closers, start)
                ?: throw ProseException("The critique's $what is not closed: ${closers.joinToString(" or ")} is missing.")
            return text.substring(start, end) to text.substring(end + closer.length)
        }

        private fun thoughts(text: String): List<String> {
            val numbers = NUMBERED.findAll(text).map { it.groupValues[1] }.toList()
            val thoughts = text.split(NUMBERED).drop(1).map { it.split(BLANKS).filter(String::isNotEmpty).joinToString(" ") }
            if (numbers != (1..PARTS).map { it.toString() } || thoughts.any { it.isEmpty() }) {
                throw ProseException(
                    "The critique needs thoughts numbered 1 to $PARTS, none of them empty; it has ${numbers.joinToString().ifEmpty { "none" }}.",
                )
            }
            return thoughts
        }

        private fun instruction(line: String): Instruction? {
            for ((lines, patterns) in INSTRUCTIONS) {
                for (pattern in patterns) {
                    pattern.matchEntire(line)?.let { return Instruction(lines.attribute, lines.direction, it.groupValues[1].toDouble()) }
                }
            }
            return null
        }

        private fun score(text: String): Int = ANSWER.find(text)?.groupValues?.get(1)?.toInt()?.takeIf { it <= 100 }
            ?: throw ProseException("The critique has no answer: <answer> and a score from 0 to 100 are missing after the edits.")

        private fun stripped(line: String): String = line.replace(Regex("^$BLANKS|$BLANKS$"), "")

        /** A regular expression for all that a template can become. */
        private fun pattern(template: String): String = buildString {
            var at = 0
            for (gap in GAP.findAll(template)) {
                append(Regex.escape(template.substring(at, gap.range.first)))
                append(GAPS.getValue(gap.groupValues[1]))
                at = gap.range.last + 1
            }
            if (at < template.length) append(Regex.escape(template.substring(at)))
        }
    }
}
