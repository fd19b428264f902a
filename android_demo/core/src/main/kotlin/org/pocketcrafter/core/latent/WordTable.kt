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
 * Word vectors of 8-bit integers, each with a scale; the file is mapped into memory and never read whole.
 *
 * @property words how many words there are.
 * @property width how many values a vector has.
 */
class WordTable private constructor(
    val words: Int, val width: Int, private val levels: ByteBuffer, private val scales: ByteBuffer,
) {
    /**
     * Returns a word's vector.
     *
     * @throws ConfigException if there is no such word.
     */
    fun vector(word: Int): FloatArray {
        if (word !in 0 until words) throw ConfigException("Words are numbered from 0 to ${words - 1}; got $word.")
        val scale = scales.getFloat(4 * word)
        return FloatArray(width) { levels.get(word * width + it) * scale }
    }

    companion object {
        private const val LENGTH_BYTES = 8
        private const val MAX_HEADER_BYTES = 1 shl 16

        /**
         * Opens a safetensors file with `levels` (int8, words × width) and `scales` (float32, one for each word).
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
            val (shape, levels) = tensor(name, channel, header["levels"], start, "I8", 1)
            val (counted, scales) = tensor(name, channel, header["scales"], start, "F32", 4)
            if (shape.size != 2 || counted != shape.take(1)) refuse(name, "its tensors are of shapes $shape and $counted")
            return WordTable(shape[0], shape[1], levels, scales)
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
