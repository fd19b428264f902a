package org.pocketcrafter.core.bundle

/**
 * Checks values against a JSON Schema, as far as the manifest's uses it (draft 2020-12).
 *
 * The schema is the one that Python validates with and checks in; an unknown keyword is an error here, so that a
 * schema which says more than this class understands is never half obeyed.
 *
 * @param schema the parsed schema.
 */
class Schema(schema: Any?) {
    private val root = asObject(schema)
    private val definitions = asObject(root["\$defs"] ?: emptyMap<String, Any?>())

    init {
        known(root, "#")
        definitions.forEach { (name, definition) -> known(asObject(definition), name) }
    }

    /** Returns one sentence for each fault of a value, each with its place; nothing where it is legal. */
    fun faults(value: Any?): List<String> = buildList { check(root, value, "", this) }

    private fun check(schema: Map<String, Any?>, value: Any?, place: String, faults: MutableList<String>) {
        (schema["\$ref"] as String?)?.let { check(definition(it), value, place, faults) }
        for (part in asList(schema["allOf"])) check(asObject(part), value, place, faults)
        schema["if"]?.let { condition ->
            val holds = mutableListOf<String>().also { check(asObject(condition), value, place, it) }.isEmpty()
            if (holds) check(asObject(schema["then"]), value, place, faults)
        }
        schema["anyOf"]?.let { options ->
            val tried = asList(options).map { mutableListOf<String>().also { found -> check(asObject(it), value, place, found) } }
            if (tried.none { it.isEmpty() }) faults += tried.minBy { it.size }
        }
        (schema["type"] as String?)?.let {
            if (!isOf(it, value)) {
                faults += "${named(place)} is not of type $it"
                return
            }
        }
        if ("const" in schema && !same(schema["const"], value)) faults += "${named(place)} is not ${schema["const"]}"
        schema["enum"]?.let { if (value !in asList(it)) faults += "${named(place)} is `$value`, none of ${asList(it)}" }
        when (value) {
            is String -> checkText(schema, value, place, faults)
            is Number -> checkNumber(schema, value.toDouble(), place, faults)
            is List<*> -> checkList(schema, value, place, faults)
            is Map<*, *> -> checkObject(schema, asObject(value), place, faults)
        }
    }

    private fun checkText(schema: Map<String, Any?>, value: String, place: String, faults: MutableList<String>) {
        val length = value.codePointCount(0, value.length).toLong()
        if (outside(schema, "minLength", "maxLength", length)) faults += "${named(place)} has $length characters"
        (schema["pattern"] as String?)?.let {
            if (!Regex(it).containsMatchIn(value) || value.endsWith("\n")) faults += "${named(place)} does not match $it"
        }
    }

    private fun checkNumber(schema: Map<String, Any?>, value: Double, place: String, faults: MutableList<String>) {
        val low = (schema["minimum"] as Number?)?.toDouble() ?: Double.NEGATIVE_INFINITY
        val high = (schema["maximum"] as Number?)?.toDouble() ?: Double.POSITIVE_INFINITY
        if (value < low || value > high) faults += "${named(place)} is $value, which is not in [$low, $high]"
        val above = (schema["exclusiveMinimum"] as Number?)?.toDouble()
        if (above != null && value <= above) faults += "${named(place)} is $value, which is not above $above"
        val below = (schema["exclusiveMaximum"] as Number?)?.toDouble()
        if (below != null && value >= below) faults += "${named(place)} is $value, which is not below $below"
    }

    private fun checkList(schema: Map<String, Any?>, value: List<*>, place: String, faults: MutableList<String>) {
        if (outside(schema, "minItems", "maxItems", value.size.toLong())) faults += "${named(place)} has ${value.size} items"
        val first = asList(schema["prefixItems"])
        value.forEachIndexed { n, item ->
            (first.getOrNull(n) ?: schema["items"])?.let { check(asObject(it), item, "$place/$n", faults) }
        }
    }

    private fun checkObject(schema: Map<String, Any?>, value: Map<String, Any?>, place: String, faults: MutableList<String>) {
        if (outside(schema, "minProperties", "maxProperties", value.size.toLong())) {
            faults += "${named(place)} has ${value.size} keys"
        }
        for (key in asList(schema["required"])) if (key !in value) faults += "${named(place)} lacks `$key`"
        val properties = asObject(schema["properties"] ?: emptyMap<String, Any?>())
        val patterns = asObject(schema["patternProperties"] ?: emptyMap<String, Any?>()).mapKeys { Regex(it.key) }
        val others = schema["additionalProperties"]
        for ((key, item) in value) {
            val here = "$place/$key"
            schema["propertyNames"]?.let { check(asObject(it), key, here, faults) }
            val matching = patterns.filterKeys { it.containsMatchIn(key) }.values
            properties[key]?.let { check(asObject(it), item, here, faults) }
            matching.forEach { check(asObject(it), item, here, faults) }
            if (key in properties || matching.isNotEmpty()) continue
            // Python's models validate the keys of such maps; the schema alone would let others pass.
            if (others == false || patterns.isNotEmpty()) faults += "${named(here)} is an unknown key"
            if (others is Map<*, *>) check(asObject(others), item, here, faults)
        }
    }

    private fun definition(reference: String): Map<String, Any?> =
        asObject(definitions[reference.removePrefix("#/\$defs/")])

    private fun known(schema: Map<String, Any?>, where: String) {
        val unknown = schema.keys - KEYWORDS
        require(unknown.isEmpty()) { "The schema's $where uses ${unknown.joinToString()}, which is not understood here." }
        val nested = listOf("properties", "patternProperties").flatMap { asObject(schema[it] ?: emptyMap<String, Any?>()).values }
        val single = listOf("items", "additionalProperties", "propertyNames", "if", "then").mapNotNull { schema[it] }
        val several = listOf("anyOf", "allOf", "prefixItems").flatMap { asList(schema[it]) }
        (nested + single + several).filterIsInstance<Map<*, *>>().forEach { known(asObject(it), where) }
    }

    private companion object {
        val KEYWORDS = setOf(
            "\$defs", "\$ref", "\$schema", "title", "description", "default", "type", "const", "enum", "allOf", "anyOf",
            "if", "then", "properties", "patternProperties", "additionalProperties", "propertyNames", "required",
            "items", "prefixItems", "minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength", "pattern",
            "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        )

        fun isOf(type: String, value: Any?): Boolean = when (type) {
            "object" -> value is Map<*, *>
            "array" -> value is List<*>
            "string" -> value is String
            "boolean" -> value is Boolean
            "null" -> value == null
            "number" -> value is Number
            "integer" -> value is Long || (value is Double && value % 1.0 == 0.0)
            else -> throw IllegalArgumentException("The schema has the type $type, which JSON has not.")
        }

        fun same(one: Any?, other: Any?): Boolean =
            if (one is Number && other is Number) one.toDouble() == other.toDouble() else one == other

        fun outside(schema: Map<String, Any?>, least: String, most: String, size: Long): Boolean {
            val low = (schema[least] as Long?) ?: 0
            val high = (schema[most] as Long?) ?: Long.MAX_VALUE
            return size !in low..high
        }

        fun named(place: String): String = if (place.isEmpty()) "the whole" else "`${place.drop(1)}`"
    }
}

/** A value that is known to be a JSON object. */
@Suppress("UNCHECKED_CAST")
internal fun asObject(value: Any?): Map<String, Any?> = value as Map<String, Any?>

/** A value that is known to be a JSON array, or absent. */
@Suppress("UNCHECKED_CAST")
internal fun asList(value: Any?): List<Any?> = value as List<Any?>? ?: emptyList()
