package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.Json
import org.pocketcrafter.core.bundle.asList
import org.pocketcrafter.core.bundle.asObject
import org.pocketcrafter.core.generated.Attribute
import org.pocketcrafter.core.photo.Pixels
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.math.abs
import kotlin.math.log10
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** One call that Python answered: its inputs and answers by name. */
class Case(private val values: Map<String, Any?>) {
    operator fun get(name: String): Any? = values.getValue(name)

    fun text(name: String): String = this[name] as String

    fun int(name: String): Int = (this[name] as Long).toInt()

    fun double(name: String): Double = (this[name] as Number).toDouble()

    fun ints(name: String): List<Int> = asList(this[name]).map { (it as Long).toInt() }

    fun texts(name: String): List<String> = asList(this[name]).map { it as String }

    fun cases(name: String): List<Case> = asList(this[name]).map { Case(asObject(it)) }

    fun of(name: String): Case = Case(asObject(this[name]))

    fun floats(name: String): FloatArray = Vectors.floats(asObject(this[name]))

    fun bytes(name: String): ByteArray = Vectors.bytes(asObject(this[name]))

    fun pixels(name: String): Pixels = Vectors.pixels(asObject(this[name]))

    /** A plan as Python spells it; its turn and crop are not this core's. */
    fun plan(name: String): EditPlan = of(name).let { plan -> EditPlan(Attribute.entries.associateWith { plan.double(it.key) }) }

    fun gate(name: String): GateSettings = GateSettings.read(asObject(this[name]))
}

/** What `pocketcrafter export-vectors` wrote into the folder that the property `vectors` names. */
object Vectors {
    private val folder = File(checkNotNull(System.getProperty("vectors")) { "Run with -Dvectors=FOLDER, as `make android` does." })
    private val cases = asObject(asObject(Json.parse(File(folder, "vectors.json").readText()))["cases"])
    private val tensors = RandomAccessFile(File(folder, "tensors.bin"), "r")

    val vocabulary: ByteArray = File(folder, "tokenizer.json").readBytes()

    val answers: ByteArray = File(folder, "answers.json").readBytes()

    fun has(name: String): Boolean = name in cases

    fun of(name: String): List<Case> = asList(cases.getValue(name)).map { Case(asObject(it)) }.also { assertTrue(it.isNotEmpty()) }

    fun floats(about: Map<String, Any?>): FloatArray {
        check(about["dtype"] == "float32")
        val bytes = ByteBuffer.wrap(bytes(about, 4)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
        return FloatArray(bytes.remaining()).also(bytes::get)
    }

    fun pixels(about: Map<String, Any?>): Pixels {
        check(about["dtype"] == "uint8")
        val (height, width) = asList(about["shape"]).map { (it as Long).toInt() }
        return Pixels(width, height, bytes(about, 1))
    }

    fun bytes(about: Map<String, Any?>): ByteArray = bytes(about, 1)

    private fun bytes(about: Map<String, Any?>, itemSize: Int): ByteArray {
        val count = asList(about["shape"]).fold(1) { size, side -> size * (side as Long).toInt() }
        tensors.seek(about["offset"] as Long)
        return ByteArray(count * itemSize).also(tensors::readFully)
    }
}

fun assertNear(expected: FloatArray, actual: FloatArray, tolerance: Float) {
    assertEquals(expected.size, actual.size)
    val worst = expected.indices.maxOf { abs(expected[it] - actual[it]) }
    assertTrue(worst <= tolerance, "differs by $worst; at most $tolerance is allowed")
}

fun assertNear(expected: EditPlan, actual: EditPlan) = assertNear(expected.vector(), actual.vector(), 1e-3f)

/** The largest difference of two pictures of one size, in levels. */
fun levelsApart(one: Pixels, other: Pixels): Int {
    assertEquals(one.width to one.height, other.width to other.height)
    return one.rgb.indices.maxOf { abs((one.rgb[it].toInt() and 0xFF) - (other.rgb[it].toInt() and 0xFF)) }
}

/** The peak signal-to-noise ratio of two pictures of one size, in decibels; infinite where they are the same. */
fun psnr(reference: Pixels, actual: Pixels): Double {
    assertEquals(reference.width to reference.height, actual.width to actual.height)
    val squared = reference.rgb.indices.sumOf {
        val difference = (reference.rgb[it].toInt() and 0xFF) - (actual.rgb[it].toInt() and 0xFF)
        (difference * difference).toLong()
    }
    return if (squared == 0L) Double.POSITIVE_INFINITY else 10 * log10(255.0 * 255.0 * reference.rgb.size / squared)
}
