package org.pocketcrafter.host

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.unpack
import org.pocketcrafter.sdk.UnpackedAsset
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.IOException
import java.util.concurrent.atomic.AtomicInteger
import java.util.zip.ZipEntry
import java.util.zip.ZipOutputStream
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** The bundle that comes with an app, unpacked from a zip of the real one: whole, once, and again where it was damaged. */
class UnpackedAssetTest {
    @get:Rule
    val temporary = TemporaryFolder()

    private val files = File(System.getProperty("bundle")).let { root ->
        root.walk().filter { it.isFile }.associate { it.relativeTo(root).path to it.readBytes() }
    }
    private val place by lazy { File(temporary.root, "asset") }

    @Test
    fun `whoever opens at once gets one bundle, and a new version takes the old one's place`() = runBlocking {
        val zip = zipped(files)
        val opened = AtomicInteger()
        val asset = { version: String ->
            UnpackedAsset(place, version) { zip.inputStream().also { opened.incrementAndGet() } }
        }
        val folders = List(4) { async(Dispatchers.IO) { asset("1").also { it.unpack() }.folder } }.awaitAll()
        folders.toSet().forEach { Bundle.open(it).verify() }
        assertEquals(1, opened.get())
        asset("2").unpack()
        assertEquals(listOf("2"), place.list()?.toList())
    }

    @Test
    fun `what was damaged since is unpacked anew, and what is whole is left`() = runBlocking {
        val zip = zipped(files)
        val asset = UnpackedAsset(place, "1") { zip.inputStream() }.also { it.unpack() }
        assertFalse(asset.mend())
        val (path, content) = files.entries.first { it.key.startsWith("targets") && it.value.isNotEmpty() }
        File(asset.folder, path).writeBytes(content.copyOf().also { it[it.size / 2] = (it[it.size / 2] + 1).toByte() })
        assertTrue(asset.mend())
        Bundle.open(asset.folder).verify()
    }

    @Test
    fun `a bundle in a folder of its archive is found, and what Finder left beside it is skipped`() {
        val made = Bundle.unpack(zipped(files.mapKeys { "photo.pcbundle/${it.key}" }).inputStream(), place)
        made.verify()
        val clutter = listOf("__MACOSX/._photo.pcbundle", "photo.pcbundle/.DS_Store", "photo.pcbundle/targets/._onnx", "Thumbs.db")
        val packed = files.mapKeys { "photo.pcbundle/${it.key}" } + clutter.associateWith { ByteArray(3) }
        val other = File(temporary.root, "other")
        Bundle.unpack(zipped(packed).inputStream(), other).verify()
        assertEquals(files.keys, other.walk().filter { it.isFile }.map { it.relativeTo(other).path }.toSet())
        other.deleteRecursively()
        assertFailsWith<BundleException> { Bundle.unpack(zipped(files).inputStream(), place) }
        assertEquals(listOf("asset"), temporary.root.list()?.toList())
    }

    @Test
    fun `archives that are no bundle are refused, and leave nothing behind`() {
        val whole = zipped(files)
        val refused = mapOf(
            "whole" to whole.copyOf(whole.size / 2),
            "stay inside" to zipped(mapOf("../manifest.json" to ByteArray(1))),
            "twice" to zipped(mapOf("a" to ByteArray(1), "A" to ByteArray(1))),
            "compresses" to zipped(mapOf("zeros" to ByteArray(8 shl 20))),
            "more than 4096 files" to zipped((0..4096).associate { "$it" to ByteArray(0) }),
            "none of a bundle" to zipped(mapOf("a" to ByteArray(1))),
            "no zip" to ByteArray(100),
        )
        for ((why, archive) in refused) {
            val error = assertFailsWith<BundleException> { Bundle.unpack(archive.inputStream(), place) }
            assertTrue(why == "whole" || why in error.message.orEmpty(), "$why: ${error.message}")
            assertEquals(emptyList(), temporary.root.list()?.toList())
        }
        val absent = UnpackedAsset(place, "1") { throw IOException("default.pcbundle") }
        assertFailsWith<BundleException> { runBlocking { absent.unpack() } }
    }

    private fun zipped(files: Map<String, ByteArray>): ByteArray = ByteArrayOutputStream().also { out ->
        ZipOutputStream(out).use { archive ->
            for ((path, content) in files) {
                archive.putNextEntry(ZipEntry(path))
                archive.write(content)
            }
        }
    }.toByteArray()
}
