package org.pocketcrafter.core

import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.core.bundle.TensorSpec
import org.pocketcrafter.core.latent.AnswerWords
import org.pocketcrafter.core.latent.WordTable
import org.pocketcrafter.core.photo.Exif
import org.pocketcrafter.core.photo.Pixels
import java.io.ByteArrayOutputStream
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.random.Random
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Files that somebody else wrote, spoiled at random: what is thrown is always one of the core's own errors. */
class SpoiledTest {
    @get:Rule
    val folder = TemporaryFolder()

    private val random = Random(7)

    @Test
    fun `spoiled manifests of both families give typed errors`() {
        for (name in listOf("manifest", "latent_manifest")) {
            val legal = Vectors.of(name).first().text("text").encodeToByteArray()
            repeat(RUNS / 2) {
                try {
                    Manifest.parse(spoiled(legal))
                } catch (_: BundleException) {
                    // What it should be, where the change was not one of a name or number that may be any.
                }
            }
        }
    }

    @Test
    fun `spoiled JPEG files have no EXIF block, or one that is carried on`() {
        val legal = Vectors.of("exif").map { it.bytes("jpeg") }
        repeat(RUNS) {
            val jpeg = legal[it % 2].let { whole -> whole.copyOf(random.nextInt(1, whole.size + 1)) }
            repeat(random.nextInt(4)) { jpeg[random.nextInt(minOf(jpeg.size, HEADERS))] = random.nextInt().toByte() }
            val exif = Exif.of(jpeg)
            if (exif != null) assertTrue(exif.orientation in 1..8)
            try {
                exif?.into(jpeg)
            } catch (_: ConfigException) {
                // Its directory is too damaged to be mended.
            }
        }
    }

    @Test
    fun `pictures whose sizes do not agree, and orientations that are none, are refused`() {
        repeat(RUNS) {
            val (width, height, bytes) = List(3) { random.nextInt(-2, 40) }
            val legal = width > 0 && height > 0 && 3 * width * height == bytes * 3
            try {
                Pixels(width, height, ByteArray(3 * maxOf(0, bytes))).upright(random.nextInt(-1, 11))
                assertTrue(legal)
            } catch (_: ShapeException) {
                assertTrue(!legal)
            } catch (_: ConfigException) {
                assertTrue(legal)
            }
        }
        assertFailsWith<ShapeException> { Pixels(1 shl 16, 1 shl 16, ByteArray(0)) }
    }

    @Test
    fun `spoiled tables, tokenizers and goldens give typed errors`() {
        val tables = Vectors.of("word_table").filter { it["words"] != null }.map { it.bytes("file") }
        val specs = listOf(TensorSpec("tile", listOf(2, 3)))
        val file = folder.newFile()
        repeat(FILES) {
            file.writeBytes(spoiled(tables[it % tables.size]))
            refusedOrRead { WordTable.open(file).let { words -> words.vector(words.words - 1) } }
            refusedOrRead { AnswerWords.read(spoiled(Vectors.answers)) }
            file.writeBytes(spoiled(golden()))
            refusedOrRead { Goldens.read(file, specs) }
        }
    }

    private fun refusedOrRead(read: () -> Unit) = try {
        read()
    } catch (_: PocketCrafterException) {
        // What it should be, where the change was not one of a number that may be any.
    }

    private fun spoiled(legal: ByteArray): ByteArray {
        val spoiled = if (random.nextInt(8) == 0) legal.copyOf(random.nextInt(legal.size)) else legal.copyOf()
        if (spoiled.isNotEmpty()) repeat(random.nextInt(1, 4)) { spoiled[random.nextInt(spoiled.size)] = random.nextInt(256).toByte() }
        return spoiled
    }

    /** An archive as numpy writes it. */
    private fun golden(): ByteArray = ByteArrayOutputStream().also { out ->
        ZipOutputStream(out).use { archive ->
            archive.putNextEntry(ZipEntry("tile.npy"))
            val header = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }".padEnd(HEADER - 1) + "\n"
            archive.write(byteArrayOf(0x93.toByte()) + "NUMPY".encodeToByteArray() + byteArrayOf(1, 0, HEADER.toByte(), 0))
            archive.write(header.encodeToByteArray() + ByteArray(6))
        }
    }.toByteArray()

    private companion object {
        const val RUNS = 100_000
        const val FILES = 3_000
        const val HEADERS = 300
        const val HEADER = 118
    }
}
