package org.pocketcrafter.core.bundle

/** A text is not JSON, or not of the strict kind that bundles hold. */
class JsonException(message: String, val offset: Int) : Exception("$message at character $offset")

/**
 * Reads JSON (RFC 8259) strictly: no key twice in one object, no NaN, nothing after the value, bounded depth.
 *
 * Objects come out as `Map<String, Any?>` in their own order, arrays as `List<Any?>`, integers as [Long] where they
 * fit, other numbers as finite [Double].
 */
class Json private constructor(private val text: String) {
    private var at = 0

    private fun document(): Any? {
        val value = value(0)
        blanks()
        if (at < text.length) fail("something after the value")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > MAX_DEPTH) fail("nested more than $MAX_DEPTH deep")
        blanks()
        return when (peek()) {
            '{' -> members(depth)
            '[' -> elements(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun members(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at++
        blanks()
        if (take('}')) return found
        do {
            blanks()
            if (peek() != '"') fail("a key is missing")
            val key = string()
            blanks()
            if (!take(':')) fail("`:` is missing")
            val value = value(depth + 1)
            if (found.containsKey(key)) fail("the key `$key` is there twice")
            found[key] = value
            blanks()
        } while (take(','))
        if (!take('}')) fail("`}` is missing")
        return found
    }

    private fun elements(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at++
        blanks()
        if (take(']')) return found
        do {
            found += value(depth + 1)
            blanks()
        } while (take(','))
        if (!take(']')) fail("`]` is missing")
        return found
    }

    private fun string(): String {
        val out = StringBuilder()
        at++
        while (true) {
            val c = peek()
            at++
            when {
                c == '"' -> return out.toString()
                c == '\\' -> out.append(escaped())
                c < ' ' -> fail("a control character in a string")
                else -> out.append(c)
            }
        }
    }

    private fun escaped(): Char {
        val c = peek()
        at++
        return when (c) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = text.substring(at, minOf(at + 4, text.length))
                if (!HEX.matches(digits)) fail("a bad \\u escape")
                at += 4
                digits.toInt(16).toChar()
            }
            else -> fail("a bad escape")
        }
    }

    private fun number(): Any {
        val match = NUMBER.matchAt(text, at) ?: fail("no value")
        at = match.range.last + 1
        if (match.groupValues[1].isEmpty()) match.value.toLongOrNull()?.let { return it }
        val value = match.value.toDouble()
        if (!value.isFinite()) fail("a number that is too large")
        return value
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("no value")
        at += word.length
        return value
    }

    private fun blanks() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("the text ends early")

    private fun take(c: Char): Boolean = (at < text.length && text[at] == c).also { if (it) at++ }

    private fun fail(what: String): Nothing = throw JsonException(what, at)

    companion object {
        private const val MAX_DEPTH = 64
        private val HEX = Regex("[0-9a-fA-F]{4}")
        private val NUMBER = Regex("-?(?:0|[1-9][0-9]{0,400})((?:\\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,9})?)")

        /**
         * Parses one JSON value.
         *
         * @throws JsonException if it is none.
         */
        fun parse(text: String): Any? = Json(text).document()
    }
}

/**
 * Writes JSON: maps with text keys, iterables, texts, numbers, booleans and `null`.
 *
 * @throws IllegalArgumentException for anything else, and for numbers that are not finite.
 */
fun jsonText(value: Any?): String = when (value) {
    null, is Boolean, is Int, is Long -> value.toString()
    is Double -> value.also { require(it.isFinite()) { "JSON has no $it" } }.toString()
    is String -> value.map(::escaped).joinToString("", "\"", "\"")
    is Map<*, *> -> value.entries.joinToString(",", "{", "}") { (key, item) -> "${jsonText(key as String)}:${jsonText(item)}" }
    is Iterable<*> -> value.joinToString(",", "[", "]", transform = ::jsonText)
    else -> throw IllegalArgumentException("JSON has no ${value::class}")
}

private fun escaped(character: Char): String = when {
    character == '"' || character == '\\' -> "\\$character"
    character < ' ' || character.isSurrogate() -> "\\u%04x".format(character.code)
    else -> character.toString()
}
