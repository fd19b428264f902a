package org.pocketcrafter.core.bundle

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.generated.Targets
import org.pocketcrafter.core.latent.AnswerWords
import org.pocketcrafter.core.latent.WordTable
import org.pocketcrafter.core.prose.Vocabulary
import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.LinkOption
import java.security.MessageDigest

/**
 * A bundle's folder, opened: its manifest agrees with its digest, and every file is there in its size.
 *
 * Contents are hashed when they are asked for: [file] and [artifact] return nothing whose SHA-256 is not the
 * manifest's, so that no network is opened that is not the one that was proved.
 */
class Bundle private constructor(private val root: File, val manifest: Manifest) {
    /** Whether the bundle has a component. */
    fun has(component: String): Boolean = manifest.components.any { it.name == component }

    /**
     * Returns where a file of the manifest lies, once its content is known to be the manifest's.
     *
     * @throws BundleException if the manifest has no such file, or its content is another.
     */
    fun file(path: String): File {
        val entry = manifest.files.find { it.path == path } ?: throw BundleException("The bundle has no file `$path`.")
        val file = File(root, path)
        val digest = try {
            sha256(file)
        } catch (error: IOException) {
            throw BundleException("`$path` cannot be read: ${error.message}", error)
        }
        if (digest != entry.sha256) throw BundleException("`$path` was changed: its SHA-256 is not the manifest's.")
        return file
    }

    /**
     * Returns a component's artifact for the first target of a kind, once it is known to be the manifest's.
     *
     * A model may keep its weights in a file of any name beside it: what lies there and is no other artifact's is hashed
     * too.
     *
     * @throws BundleException if there is none, or it was changed.
     */
    fun artifact(component: String, kind: String): File = file(intact(component, kind).path)

    /**
     * Returns the files of those functions of an artifact that have one of their own, by name; otherwise as [artifact].
     */
    fun functions(component: String, kind: String): Map<String, File> = intact(component, kind).functionPaths.mapValues { file(it.value) }

    private fun intact(component: String, kind: String): Artifact {
        val entry = manifest.component(component)
        val target = manifest.targets.find { it.kind == kind }
            ?: throw BundleException("The bundle has no target `$kind`; it has ${manifest.targets.joinToString { it.kind }}.")
        val artifact = entry.artifacts.getValue(target.name)
        val others = manifest.components.flatMap { it.artifacts.values }.map { it.path } - artifact.path
        val folder = artifact.path.substringBeforeLast('/') + "/"
        manifest.files.map { it.path }.filter { it.startsWith(folder) && it != artifact.path }
            .filterNot { path -> others.any { path == it || path.startsWith("$it/") } }.forEach(::file)
        return artifact
    }

    /**
     * Returns the decoder's vocabulary.
     *
     * @throws BundleException if there is none, or it is damaged.
     */
    fun vocabulary(): Vocabulary = Vocabulary.read(file(Targets.TOKENIZER).readBytes())

    /**
     * Returns the vocabulary of a latent critic.
     *
     * @throws BundleException if there is none, or it is damaged.
     */
    fun answerWords(): AnswerWords = AnswerWords.read(file(Targets.TOKENIZER).readBytes())

    /**
     * Returns the word vectors of a latent critic.
     *
     * @throws BundleException if there are none, or they are damaged.
     */
    fun wordTable(): WordTable = WordTable.open(file(Targets.WORD_TABLE))

    /**
     * Hashes every file.
     *
     * @param progress told the bytes that were hashed, and those of all files.
     * @throws BundleException with the first file that was changed.
     */
    fun verify(progress: (Long, Long) -> Unit = { _, _ -> }) {
        val all = manifest.files.sumOf { it.size }
        manifest.files.fold(0L) { done, entry ->
            file(entry.path)
            (done + entry.size).also { progress(it, all) }
        }
    }

    companion object {
        private const val BLOCK = 1 shl 16

        /**
         * Opens a bundle's folder.
         *
         * @throws BundleException if it is none, is damaged, or of another schema version.
         */
        fun open(root: File): Bundle {
            val content = read(root, "manifest.json", Manifest.MAX_BYTES)
            val digest = read(root, "manifest.sha256", 4096).decodeToString()
            if (digest != "${sha256(content)}  manifest.json\n") {
                throw BundleException("`manifest.json` and `manifest.sha256` do not agree: one of them was changed.")
            }
            val manifest = Manifest.parse(content)
            val faults = manifest.files.mapNotNull { entry ->
                val file = File(root, entry.path)
                when {
                    !isPlain(root, entry.path) -> "`${entry.path}` is missing or no plain file"
                    file.length() != entry.size -> "`${entry.path}` has ${file.length()} bytes; the manifest says ${entry.size}"
                    else -> null
                }
            }
            if (faults.isNotEmpty()) throw BundleException("The bundle is damaged: ${faults.take(20).joinToString("; ")}.")
            return Bundle(root, manifest)
        }

        private fun read(root: File, name: String, most: Int): ByteArray {
            val file = File(root, name)
            if (!isPlain(root, name)) throw BundleException("$root: no bundle; `$name` is missing or no plain file.")
            if (file.length() > most) throw BundleException("`$name` has ${file.length()} bytes; $most are the most.")
            return try {
                file.readBytes()
            } catch (error: IOException) {
                throw BundleException("`$name` cannot be read: ${error.message}", error)
            }
        }

        /** Whether a path is a plain file, and no folder on the way to it is a link. */
        private fun isPlain(root: File, path: String): Boolean {
            val parts = path.split('/')
            val folders = parts.dropLast(1).runningFold(root) { folder, part -> File(folder, part) }.drop(1)
            return Files.isRegularFile(File(root, path).toPath(), LinkOption.NOFOLLOW_LINKS) &&
                folders.all { Files.isDirectory(it.toPath(), LinkOption.NOFOLLOW_LINKS) }
        }

        private fun sha256(file: File): String {
            val digest = MessageDigest.getInstance("SHA-256")
            file.inputStream().use { stream ->
                val block = ByteArray(BLOCK)
                while (true) {
                    val count = stream.read(block)
                    if (count < 0) break
                    digest.update(block, 0, count)
                }
            }
            return hex(digest.digest())
        }
    }
}

/** The SHA-256 of some bytes in lowercase hex. */
internal fun sha256(content: ByteArray): String = hex(MessageDigest.getInstance("SHA-256").digest(content))

private fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }
