package org.pocketcrafter.core

import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Json
import org.pocketcrafter.core.bundle.JsonException
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.core.generated.Attribute
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder
import java.io.File
import java.nio.file.Files
import java.security.MessageDigest
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue

/** Manifests are legal where Python's are, and files are what their manifest says before anything is made of them. */
class ManifestTest {
    @get:Rule
    val folder = TemporaryFolder()

    @Test
    fun `what Python refuses is refused, and nothing else`() {
        for (case in Vectors.of("manifest")) {
            val content = case.text("text").encodeToByteArray()
            if (case["legal"] == true) {
                Manifest.parse(content)
            } else {
                assertFailsWith<BundleException>(case.text("text").take(300)) { Manifest.parse(content) }
            }
        }
    }

    @Test
    fun `a manifest's components, targets and gate are read`() {
        val manifest = Manifest.parse(legal())
        assertEquals(listOf("critic", "judge", "tone", "restore", "decoder"), manifest.components.map { it.name })
        assertEquals(listOf(1, 3, 256, 256), manifest.component("critic").inputs.first().shape)
        assertEquals("targets/onnx/tone.onnx", manifest.component("tone").artifacts.getValue("onnx").path)
        assertEquals("onnxruntime", manifest.targets.single().backend)
        val gate = manifest.gate!!
        assertEquals(0.5, gate[Attribute.DEJPEG].presence, 1e-9)
        assertEquals(0.25, gate.judge?.bar)
        assertFailsWith<BundleException> { manifest.component("sculptor") }
    }

    @Test
    fun `JSON is read strictly`() {
        assertEquals(listOf(1L, -2.5, "é\n", null, true, emptyMap<String, Any>()), Json.parse("[1, -2.5, \"\\u00e9\\n\", null, true, {}]"))
        for (text in listOf("01", "1.", "NaN", "[1,]", "{\"a\":1,\"a\":1}", "\"\u0001\"", "tru", "1e999", "\"\\x\"", "[1] 2", "\"\\u00e\"")) {
            assertFailsWith<JsonException>(text) { Json.parse(text) }
        }
    }

    @Test
    fun `an artifact is handed out only with the manifest's SHA-256`() {
        val root = bundle()
        val bundle = Bundle.open(root)
        bundle.verify()
        assertEquals("weights of tone", bundle.artifact("tone", "onnx").readText())
        File(root, "targets/onnx/tone.onnx").writeText("weights of Tone")
        val error = assertFailsWith<BundleException> { bundle.artifact("tone", "onnx") }
        assertTrue("SHA-256" in error.message!!)
        assertFailsWith<BundleException> { bundle.verify() }
        assertFailsWith<BundleException> { bundle.artifact("tone", "coreml:ios17") }
    }

    @Test
    fun `a bundle that lacks a file, or has another manifest, or links, does not open`() {
        File(bundle(), "manifest.json").let { it.appendText(" ") ; assertFailsWith<BundleException> { Bundle.open(it.parentFile) } }
        bundle().let { File(it, "targets/onnx/tone.onnx").delete(); assertFailsWith<BundleException> { Bundle.open(it) } }
        bundle().let { File(it, "targets/onnx/tone.onnx").appendText("x"); assertFailsWith<BundleException> { Bundle.open(it) } }
        bundle().let { root ->
            val file = File(root, "targets/onnx/tone.onnx")
            val moved = File(folder.newFolder(), "tone").also { file.copyTo(it) }
            file.delete()
            Files.createSymbolicLink(file.toPath(), moved.toPath())
            assertFailsWith<BundleException> { Bundle.open(root) }
        }
        assertFailsWith<BundleException> { Bundle.open(folder.newFolder()) }
    }

    private fun legal(): ByteArray = Vectors.of("manifest").first().text("text").encodeToByteArray()

    /** Writes a bundle whose files hold a few words each. */
    private fun bundle(): File {
        val root = folder.newFolder()
        var text = legal().decodeToString()
        for (entry in Manifest.parse(legal()).files) {
            val content = "weights of ${entry.path.substringAfterLast('/').substringBefore('.')}".encodeToByteArray()
            File(root, entry.path).apply { parentFile.mkdirs() }.writeBytes(content)
            text = text.replace(Regex("\"${entry.sha256}\",(\\s*)\"size\": ${entry.size}(?![0-9])"), "\"${sha256(content)}\",\$1\"size\": ${content.size}")
        }
        File(root, "manifest.json").writeText(text)
        File(root, "manifest.sha256").writeText("${sha256(text.encodeToByteArray())}  manifest.json\n")
        return root
    }

    private fun sha256(content: ByteArray) = MessageDigest.getInstance("SHA-256").digest(content).joinToString("") { "%02x".format(it) }
}
