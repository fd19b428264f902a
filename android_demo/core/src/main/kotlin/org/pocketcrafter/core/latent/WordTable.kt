package org.pocketcrafter.core.latent

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.bundle.Json
import org.pocketcrafter.core.bundle.JsonException
import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel

/**
 * Word vectors of 8- or 4-bit integers, and the scales that these are multiplied by; the file is mapped into memory and
 * never read whole.
 *
 * @property words how many words there are.
 * @property width how many values a vector has.
 */
class WordTable private constructor(
    val words: Int, val width: Int, private val isGrouped: Boolean, private val levels: ByteBuffer, private val scales: ByteBuffer,
) {
    /**
     * Returns a word's vector.
     *
     * @throws ConfigException if there is no such word.
     */
    fun vector(word: Int): FloatArray {
        if (word !in 0 until words) throw ConfigException("Words are numbered from 0 to ${words - 1}; got $word.")
        if (isGrouped) return grouped(word)
        val scale = scales.getFloat(4 * word)
        return FloatArray(width) { levels.get(word * width + it) * scale }
    }

    /** Two levels a byte, the first in its lowest bits; each group has a scale, the upper half of a float. */
    private fun grouped(word: Int): FloatArray {
        val groups = width / GROUP
        return FloatArray(width) {
            val pair = levels.get(word * (width / 2) + it / 2).toInt()
            val level = (if (it % 2 == 0) pair else pair shr 4) and 0xF
            val scale = scales.getShort(2 * (word * groups + it / GROUP)).toInt() shl 16
            (level + LOWEST) * Float.fromBits(scale)
        }
    }

    companion object {
        private const val LENGTH_BYTES = 8
        private const val MAX_HEADER_BYTES = 1 shl 16

        /** Values of a vector that share a scale where levels have 4 bits. */
        private const val GROUP = 32
        private const val LOWEST = -8

        /**
         * Opens a safetensors file: `levels` and `scales` are int8 of words × width and float32, one for each word; or uint8
         * of words × width / 2 and bfloat16, one for each 32 values.
         *
         * @throws BundleException if it is no such file.
         */
        fun open(file: File): WordTable = try {
            RandomAccessFile(file, "r").use { read(file.name, it.channel) }
        } catch (error: IOException) {
            throw BundleException("`${file.name}` cannot be read: ${error.message}", error)
        }

        private fun read(name: String, channel: FileChannel): WordTable {
            val length = bytes(name, channel, 0, LENGTH_BYTES).getLong(0)
            if (length !in 2L..MAX_HEADER_BYTES) refuse(name, "its header has $length bytes")
            val text = bytes(name, channel, LENGTH_BYTES.toLong(), length.toInt()).let { Charsets.UTF_8.decode(it).toString() }
            val header = try {
                Json.parse(text) as? Map<*, *> ?: refuse(name, "its header is no object")
            } catch (error: JsonException) {
                throw BundleException("`$name` is no table of word vectors: ${error.message}", error)
            }
            val start = LENGTH_BYTES + length
            val isGrouped = (header["levels"] as? Map<*, *>)?.get("dtype") == "U8"
            val (shape, levels) = tensor(name, channel, header["levels"], start, if (isGrouped) "U8" else "I8", 1)
            val (counted, scales) = tensor(name, channel, header["scales"], start, if (isGrouped) "BF16" else "F32", if (isGrouped) 2 else 4)
            val fits = shape.size == 2 && counted.firstOrNull() == shape[0] &&
                if (isGrouped) counted.size == 2 && 2L * shape[1] == GROUP.toLong() * counted[1] else counted.size == 1
            if (!fits) refuse(name, "its tensors are of shapes $shape and $counted")
            return WordTable(shape[0], if (isGrouped) 2 * shape[1] else shape[1], isGrouped, levels, scales)
        }

        private fun tensor(name: String, channel: FileChannel, about: Any?, start: Long, type: String, bytes: Int): Pair<List<Int>, ByteBuffer> {
            val tensor = about as? Map<*, *> ?: refuse(name, "a tensor is missing")
            val (first, last) = numbers(tensor["data_offsets"]).takeIf { it.size == 2 } ?: refuse(name, "a tensor has no place")
            val shape = numbers(tensor["shape"])
            // The product is taken in floats: integers would wrap around.
            val wanted = shape.fold(bytes.toDouble()) { size, side -> size * side }
            if (tensor["dtype"] != type || shape.any { it < 0 } || first < 0 || wanted != (last - first).toDouble() || wanted > Int.MAX_VALUE) {
                refuse(name, "a tensor is $tensor")
            }
            return shape.map { it.toInt() } to bytes(name, channel, start + first, wanted.toInt())
        }

        private fun numbers(value: Any?): List<Long> = (value as? List<*>).orEmpty().map { it as? Long ?: -1 }

        private fun bytes(name: String, channel: FileChannel, start: Long, size: Int): ByteBuffer {
            if (start < 0 || start > channel.size() - size) refuse(name, "it is cut off")
            return channel.map(FileChannel.MapMode.READ_ONLY, start, size.toLong()).order(ByteOrder.LITTLE_ENDIAN)
        }

        private fun refuse(name: String, why: String): Nothing =
            throw BundleException("`$name` is no table of word vectors: $why.")
    }
}
