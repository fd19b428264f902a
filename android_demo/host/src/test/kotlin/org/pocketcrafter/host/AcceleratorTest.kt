package org.pocketcrafter.host

import org.junit.Test
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Vectors
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.sdk.Accelerator
import org.pocketcrafter.sdk.HtpPerformance
import org.pocketcrafter.sdk.targetFor
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith

/** Which target an accelerator runs, and what the HTP is told. */
class AcceleratorTest {
    @Test
    fun `a chip's own binary is run where there is one, and the portable target elsewhere`() {
        val both = manifest("onnx", "qnn-context:sm8750")
        assertEquals("qnn-context:sm8750", targetFor(both, Accelerator.Qnn("sm8750")).kind)
        for (other in listOf(Accelerator.Qnn("SM8650"), Accelerator.Qnn(), Accelerator.Cpu, Accelerator.Nnapi)) {
            assertEquals("onnx", targetFor(both, other).kind)
        }
        val compiled = manifest("qnn-context:sm8750")
        assertEquals("qnn-context:sm8750", targetFor(compiled, Accelerator.Qnn("SM8750")).kind)
        assertFailsWith<BundleException> { targetFor(compiled, Accelerator.Qnn("SM8650")) }
        assertFailsWith<BundleException> { targetFor(compiled, Accelerator.Cpu) }
    }

    @Test
    fun `a binary for several chips is every one's`() {
        val several = manifest("onnx", "qnn-context:multi")
        assertEquals("qnn-context:multi", targetFor(several, Accelerator.Qnn("SM8650")).kind)
        assertEquals("onnx", targetFor(several, Accelerator.Qnn("SM7")).kind)
    }

    @Test
    fun `the HTP is clocked as it was asked for`() {
        assertEquals("power_saver", Accelerator.Qnn(performance = HtpPerformance.POWER_SAVER).options["htp_performance_mode"])
    }

    /** The legal manifest of the vectors, with other targets in the place of its own. */
    private fun manifest(vararg kinds: String): Manifest {
        val socs = mapOf("onnx" to "null", "qnn-context:sm8750" to "\"SM8750\"", "qnn-context:multi" to "\"SM8650, SM8750, SM8850\"")
        val targets = kinds.joinToString {
            val backend = mapOf("onnx" to "onnxruntime", "qnn-context:multi" to "device")[it] ?: "qnn-emulator"
            "\"$it\": {\"kind\": \"$it\", \"backend\": \"$backend\", \"soc\": ${socs[it]}, \"minimum_os\": null}"
        }
        val text = Vectors.of("manifest").first().text("text")
            .replace(Regex("\"targets\": \\{\"onnx\": \\{[^}]*}}"), Regex.escapeReplacement("\"targets\": {$targets}"))
            .replace(Regex("\"artifacts\": \\{(\"onnx\": (.*?\"golden_gate\": \\{[^}]*}}))}")) { match ->
                kinds.joinToString(prefix = "\"artifacts\": {", postfix = "}") { "\"$it\": ${match.groupValues[2]}" }
            }
        return Manifest.parse(text.encodeToByteArray())
    }
}
