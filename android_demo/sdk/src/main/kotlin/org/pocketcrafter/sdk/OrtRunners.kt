package org.pocketcrafter.sdk

import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtException
import ai.onnxruntime.OrtSession
import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.latent.LayerCaches
import org.pocketcrafter.core.latent.LayerCaches.Companion.part
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.FloatBuffer

/**
 * Runs a bundle's `onnx` target, or its `qnn-context` target for the phone's chip, with Microsoft's `ai.onnxruntime`.
 *
 * Nothing falls back silently: with another [Accelerator] than the CPU, a network that it does not take whole does not
 * open. What runs is in [engine].
 *
 * @param bundle where the artifacts come from, each hashed before it is opened.
 * @param accelerator what computes.
 * @param threads threads of one operator on the CPU, ≥ 1.
 * @throws BundleException if the bundle has no target for it.
 */
class OrtRunners(
    private val bundle: Bundle,
    private val accelerator: Accelerator = Accelerator.Cpu,
    override val threads: Int = 2,
) : RunnerSource {
    private val environment: OrtEnvironment = OrtEnvironment.getEnvironment()

    init {
        calling { environment.setTelemetry(false) }
    }

    override val kind: String = targetFor(bundle.manifest, accelerator).kind

    override val engine: String get() = "ONNX Runtime ${environment.version}, $kind on $accelerator"

    override fun open(component: String): Runner {
        val model = bundle.artifact(component, kind)
        val functions = bundle.functions(component, kind)
        val sessions = mutableMapOf<String?, OrtSession>()
        try {
            sessions[null] = session(model, functions.isNotEmpty())
            for ((name, file) in functions) sessions[name] = session(file, shared = true)
        } catch (error: RunnerException) {
            calling { sessions.values.forEach { it.close() } }
            throw error
        }
        return OrtRunner(environment, sessions, bundle.manifest.component(component))
    }

    private fun session(model: File, shared: Boolean): OrtSession = calling {
        OrtSession.SessionOptions().use { options ->
            options.setIntraOpNumThreads(threads)
            when (accelerator) {
                Accelerator.Cpu -> Unit
                Accelerator.Nnapi -> options.addNnapi()
                is Accelerator.Qnn -> options.addQnn(accelerator.options)
            }
            if (accelerator != Accelerator.Cpu) options.addConfigEntry("session.disable_cpu_ep_fallback", "1")
            // Functions of one network lie in one binary, which is then loaded once.
            if (shared) options.addConfigEntry("ep.share_ep_contexts", "1")
            environment.createSession(model.path, options)
        }
    }
}

private class OrtRunner(
    private val environment: OrtEnvironment,
    private val sessions: Map<String?, OrtSession>,
    private val component: Component,
) : Runner {
    override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
        // Without a file of its own a function is the same graph, whose free axes take its shapes.
        val session = sessions[function] ?: sessions.getValue(null)
        val contract = component.of(function)
        val values = contract.inOrder(inputs)
        return calling {
            val tensors = mutableMapOf<String, OnnxTensor>()
            try {
                val caches = if (part("keys", 0) in session.inputNames) InPlace(environment, contract, inputs) else null
                for ((spec, value) in contract.inputs.zip(values)) {
                    if (caches != null && spec.name in LayerCaches.NAMES) continue
                    val shape = spec.shape.map { it.toLong() }.toLongArray()
                    tensors[spec.name] = OnnxTensor.createTensor(environment, FloatBuffer.wrap(value), shape)
                }
                val pinned = caches?.bind(tensors).orEmpty()
                val wanted = contract.outputs.map { it.name }.toSet() - caches?.outputs.orEmpty()
                session.run(tensors, wanted, pinned).use { result -> wanted.associateWith { floats(result, it) } } +
                    caches?.added().orEmpty()
            } finally {
                tensors.values.forEach { it.close() }
            }
        }
    }

    override fun close() = calling { sessions.values.forEach { it.close() } }

    private fun floats(result: OrtSession.Result, name: String): FloatArray {
        val tensor = result[name].orElse(null) as? OnnxTensor
            ?: throw RunnerException("`${component.name}` gave no tensor `$name`.")
        return tensor.floatBuffer.let { buffer -> FloatArray(buffer.remaining()).also(buffer::get) }
    }
}

/** Caches that a graph reads and writes in place, in memory outside of the heap. */
private class InPlace(private val environment: OrtEnvironment, contract: Component, inputs: Map<String, FloatArray>) {
    private val caches = LayerCaches(contract, inputs.getValue("mask"))
    private val memory = LayerCaches.NAMES.keys.associateWith { name ->
        val bytes = ByteBuffer.allocateDirect(caches.layers * caches.size * Float.SIZE_BYTES)
        bytes.order(ByteOrder.nativeOrder()).asFloatBuffer().also { floats ->
            caches.fill { place, from, count ->
                floats.position(place)
                floats.put(inputs.getValue(name), from, count)
            }
        }
    }

    /** Outputs of the contract that are read from here. */
    val outputs: Set<String> get() = LayerCaches.NAMES.values.toSet()

    /** Adds the graph's inputs to [tensors], and returns its outputs: the same places. */
    fun bind(tensors: MutableMap<String, OnnxTensor>): Map<String, OnnxTensor> = buildMap {
        for ((name, floats) in memory) {
            for (layer in 0 until caches.layers) {
                floats.limit((layer + 1) * caches.size).position(layer * caches.size)
                val tensor = OnnxTensor.createTensor(environment, floats.slice(), caches.shape)
                tensors[part(name, layer)] = tensor
                put(part(LayerCaches.NAMES.getValue(name), layer), tensor)
            }
            floats.clear()
        }
    }

    /** What the positions that were run added. */
    fun added(): Map<String, FloatArray> = memory.entries.associate { (name, floats) ->
        LayerCaches.NAMES.getValue(name) to caches.added { place, into, from, count ->
            floats.position(place)
            floats.get(into, from, count)
        }
    }
}

private fun <T> calling(work: () -> T): T = try {
    work()
} catch (error: OrtException) {
    throw RunnerException("ONNX Runtime failed: ${error.message}", error)
}
