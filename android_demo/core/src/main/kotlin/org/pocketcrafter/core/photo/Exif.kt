package org.pocketcrafter.core.photo

import org.pocketcrafter.core.ConfigException
import java.nio.BufferUnderflowException
import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The EXIF block of a JPEG file, carried from one file to another byte by byte: every tag is kept, even those that
 * nobody here knows.
 *
 * @property orientation which way up the camera was: 1 to 8 as EXIF counts, 1 where it is not said.
 */
class Exif private constructor(private val tiff: ByteArray, val orientation: Int) {
    /**
     * Returns a JPEG with this block in the place of its own.
     *
     * The pixels are taken to be upright: the orientation becomes 1, and the old thumbnail is cut off.
     *
     * @throws ConfigException if `jpeg` is no JPEG, or has no room for the block.
     */
    fun into(jpeg: ByteArray): ByteArray {
        val upright = upright()
        val size = 2 + HEADER.size + upright.size
        if (size > MOST_BYTES) throw ConfigException("The EXIF block has ${upright.size} bytes, more than a JPEG segment holds.")
        val own = segments(jpeg).filter { isExif(jpeg, it) }
        val rest = own.fold(2 to listOf<IntRange>()) { (at, kept), segment -> segment.last + 1 to kept + listOf(at until segment.first) }
        val kept = rest.second + listOf(rest.first until jpeg.size)
        val head = byteArrayOf(MARK, APP1, (size ushr 8).toByte(), size.toByte()) + HEADER + upright
        return kept.fold(jpeg.copyOf(2) + head) { made, part -> made + jpeg.copyOfRange(part.first, part.last + 1) }
    }

    private fun upright(): ByteArray {
        val content = tiff.copyOf()
        val data = ordered(content)
        val entries = directory(data)
        entries.find { data.getShort(it).toInt() == ORIENTATION }?.let { data.putShort(it + 8, 1) }
        // The next directory describes the thumbnail, which shows the photo as it was.
        data.putInt(entries.last + ENTRY, 0)
        return content
    }

    companion object {
        private const val MARK: Byte = -1
        private const val APP1: Byte = 0xE1.toByte()
        private const val START_OF_SCAN: Byte = 0xDA.toByte()
        private const val ORIENTATION = 0x0112
        private const val ENTRY = 12
        private const val MOST_BYTES = 0xFFFF
        private val HEADER = byteArrayOf(0x45, 0x78, 0x69, 0x66, 0, 0)

        /** Returns the EXIF block of a JPEG; `null` where there is none, it is damaged, or the file is no JPEG. */
        fun of(jpeg: ByteArray): Exif? = try {
            segments(jpeg).find { isExif(jpeg, it) }
                ?.let { jpeg.copyOfRange(it.first + 4 + HEADER.size, it.last + 1) }
                ?.let { tiff ->
                    val data = ordered(tiff)
                    val entry = directory(data).find { data.getShort(it).toInt() == ORIENTATION }
                    Exif(tiff, entry?.let { data.getShort(it + 8).toInt() }?.takeIf { it in 1..8 } ?: 1)
                }
        } catch (_: ConfigException) {
            null
        } catch (_: BufferUnderflowException) {
            null
        } catch (_: IndexOutOfBoundsException) {
            null
        }

        /** The segments before the picture's data, from marker to last byte. */
        private fun segments(jpeg: ByteArray): List<IntRange> {
            if (jpeg.size < 4 || jpeg[0] != MARK || jpeg[1] != 0xD8.toByte()) throw ConfigException("This is no JPEG file.")
            val found = mutableListOf<IntRange>()
            var at = 2
            while (at + 4 <= jpeg.size && jpeg[at] == MARK && jpeg[at + 1] != START_OF_SCAN) {
                val length = ((jpeg[at + 2].toInt() and 0xFF) shl 8) or (jpeg[at + 3].toInt() and 0xFF)
                if (length < 2 || at + 2 + length > jpeg.size) throw ConfigException("This JPEG file is cut off.")
                found += at until at + 2 + length
                at += 2 + length
            }
            return found
        }

        private fun isExif(jpeg: ByteArray, segment: IntRange): Boolean =
            jpeg[segment.first + 1] == APP1 && segment.count() > 4 + HEADER.size &&
                HEADER.indices.all { jpeg[segment.first + 4 + it] == HEADER[it] }

        private fun ordered(tiff: ByteArray): ByteBuffer {
            val little = tiff[0] == 'I'.code.toByte()
            return ByteBuffer.wrap(tiff).order(if (little) ByteOrder.LITTLE_ENDIAN else ByteOrder.BIG_ENDIAN)
        }

        /** Where the entries of the first directory start. */
        private fun directory(data: ByteBuffer): IntProgression {
            val start = data.getInt(4)
            val count = data.getShort(start).toInt() and 0xFFFF
            val first = start + 2
            data.getInt(first + ENTRY * count)
            return first..first + ENTRY * (count - 1) step ENTRY
        }
    }
}
