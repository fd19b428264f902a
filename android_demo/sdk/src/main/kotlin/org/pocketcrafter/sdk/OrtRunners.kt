package org.pocketcrafter.sdk

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import java.nio.FloatBuffer

/** What of a phone computes. */
enum class Accelerator {
    /** ONNX Runtime's own kernels. */
    CPU,

    /** Android's neural networks API; deprecated since Android 15, and left to the driver. */
    NNAPI,

    /** Qualcomm's HTP, where the app brings an ONNX Runtime with QNN and Qualcomm's libraries. */
    QNN,
}

/**
 * Runs a bundle's `onnx` target with Microsoft's `ai.onnxruntime`.
 *
 * Nothing falls back silently: with another [Accelerator] than the CPU, a network that it does not take whole does not
 * open.
 *
 * @param bundle where the artifacts come from, each hashed before it is opened.
 * @param accelerator what computes.
 * @param threads threads of one operator on the CPU, ≥ 1.
 */
class OrtRunners(
    private val bundle: Bundle,
    private val accelerator: Accelerator = Accelerator.CPU,
    override val threads: Int = 2,
) : RunnerSource {
    private val environment: OrtEnvironment = OrtEnvironment.getEnvironment()

    init {
        calling { environment.setTelemetry(false) }
    }

    override val kind: String = "onnx"

    override val engine: String get() = "ONNX Runtime ${environment.version}, $accelerator"

    override fun open(component: String): Runner {
        val model = bundle.artifact(component, kind)
        val session = calling {
            OrtSession.SessionOptions().use { options ->
                options.setIntraOpNumThreads(threads)
                when (accelerator) {
                    Accelerator.CPU -> Unit
                    Accelerator.NNAPI -> options.addNnapi()
                    Accelerator.QNN -> options.addQnn(mapOf("backend_path" to "libQnnHtp.so"))
                }
                if (accelerator != Accelerator.CPU) options.addConfigEntry("session.disable_cpu_ep_fallback", "1")
                environment.createSession(model.path, options)
            }
        }
        return OrtRunner(environment, session, bundle.manifest.component(component))
    }
}

private class OrtRunner(
    private val environment: OrtEnvironment,
    private val session: OrtSession,
    private val component: Component,
) : Runner {
    override fun run(inputs: Map<String, FloatArray>): Map<String, FloatArray> {
        val values = component.inOrder(inputs)
        return calling {
            val tensors = mutableMapOf<String, OnnxTensor>()
            try {
                for ((spec, value) in component.inputs.zip(values)) {
                    val shape = spec.shape.map { it.toLong() }.toLongArray()
                    tensors[spec.name] = OnnxTensor.createTensor(environment, FloatBuffer.wrap(value), shape)
                }
                val wanted = component.outputs.map { it.name }.toSet()
                session.run(tensors, wanted).use { result -> wanted.associateWith { floats(result, it) } }
            } finally {
                tensors.values.forEach { it.close() }
            }
        }
    }

    override fun close() = calling { session.close() }

    private fun floats(result: OrtSession.Result, name: String): FloatArray {
        val tensor = result[name].orElse(null) as? OnnxTensor
            ?: throw RunnerException("`${component.name}` gave no tensor `$name`.")
        return tensor.floatBuffer.let { buffer -> FloatArray(buffer.remaining()).also(buffer::get) }
    }
}

private fun <T> calling(work: () -> T): T = try {
    work()
} catch (error: OrtException) {
    throw RunnerException("ONNX Runtime failed: ${error.message}", error)
}
