package org.pocketcrafter.core.bundle

import org.pocketcrafter.core.BundleException
import java.io.File
import java.io.FilterInputStream
import java.io.IOException
import java.io.InputStream
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardOpenOption
import java.util.zip.ZipInputStream

private const val MANIFEST = "manifest.json"
private const val MAX_FILES = 4096

/** Small archives may compress as well as they like. */
private const val FREE_BYTES = 1L shl 20
private const val MAX_RATIO = 100
private const val BLOCK = 1 shl 16

/** What Finder and Explorer leave in folders, in lowercase. */
private val CLUTTER = setOf("__macosx", ".ds_store", "thumbs.db", "desktop.ini")

/**
 * Unpacks a zipped bundle, as `pocketcrafter split` writes it, whole or not at all.
 *
 * The bundle's files lie at the archive's root, or all in one folder; what Finder or Explorer left among them is skipped.
 * Files and folders are on the disk before the bundle is.
 *
 * @param archive the zip; read, and not closed.
 * @param folder where the bundle goes; nothing is there yet.
 * @return the bundle, whose manifest agrees with its digest; contents are hashed when they are asked for.
 * @throws BundleException if the archive is damaged, repeats a name, has paths that leave the bundle, unpacks to far more
 *   than a bundle's size, or cannot be written, or something is at the place already.
 */
fun Bundle.Companion.unpack(archive: InputStream, folder: File): Bundle {
    if (folder.exists()) throw BundleException("There is something at `$folder` already.")
    val parent = folder.absoluteFile.toPath().parent
    try {
        Files.createDirectories(parent)
        // A name of its own: whoever else unpacks here at the same time writes elsewhere.
        val staged = Files.createTempDirectory(parent, ".${folder.name}.").toFile()
        try {
            extract(Counted(archive), staged)
            val root = staged.takeIf { File(it, MANIFEST).exists() } ?: staged.listFiles()?.singleOrNull() ?: staged
            if (!File(root, MANIFEST).exists()) throw BundleException("The archive has no `$MANIFEST`: it is no zip, or none of a bundle.")
            Bundle.open(root)
            root.walk().filter { it.isDirectory }.forEach { flush(it.toPath()) }
            if (!root.renameTo(folder)) throw IOException("`$root` cannot be renamed to `$folder`")
            flush(parent)
        } finally {
            staged.deleteRecursively()
        }
    } catch (error: IOException) {
        throw BundleException("The archive cannot be unpacked: ${error.message}", error)
    } catch (error: IllegalArgumentException) {
        throw BundleException("The archive has a name that is no text: ${error.message}", error)
    }
    return Bundle.open(folder)
}

/** Has a folder's list of files written to the disk, where the system lets folders be opened. */
private fun flush(folder: Path) = try {
    FileChannel.open(folder, StandardOpenOption.READ).use { it.force(true) }
} catch (_: IOException) {
    // Some file systems do not: what a power failure then leaves damaged, the manifest's hashes find.
}

/** Whether a path is one that Finder or Explorer leaves behind. */
private fun isClutter(path: String): Boolean = path.split('/').any { it.startsWith("._") || it.lowercase() in CLUTTER }

private fun extract(source: Counted, folder: File) {
    val archive = ZipInputStream(source)
    val block = ByteArray(BLOCK)
    val names = mutableSetOf<String>()
    var total = 0L
    for (entry in generateSequence { archive.nextEntry }.filterNot { it.isDirectory || isClutter(it.name) }) {
        if (!Manifest.isSafe(entry.name)) throw BundleException("The archive's `${entry.name}` does not stay inside it.")
        if (!names.add(entry.name.lowercase())) throw BundleException("The archive has `${entry.name}` twice.")
        if (names.size > MAX_FILES) throw BundleException("The archive has more than $MAX_FILES files; no bundle has.")
        val file = File(folder, entry.name)
        Files.createDirectories(file.toPath().parent)
        file.outputStream().use { out ->
            while (true) {
                val count = archive.read(block)
                if (count < 0) break
                total += count
                if (total > maxOf(FREE_BYTES, MAX_RATIO * source.count)) {
                    throw BundleException("${source.count} bytes unpack to more than $total; no bundle compresses like that.")
                }
                out.write(block, 0, count)
            }
            out.fd.sync()
        }
    }
}

/** A stream that knows how many bytes were read of it. */
private class Counted(source: InputStream) : FilterInputStream(source) {
    var count = 0L
        private set

    override fun read(): Int = super.read().also { if (it >= 0) count++ }

    override fun read(into: ByteArray, offset: Int, length: Int): Int =
        super.read(into, offset, length).also { if (it > 0) count += it }
}
