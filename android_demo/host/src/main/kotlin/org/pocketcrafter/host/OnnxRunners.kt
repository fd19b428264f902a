package org.pocketcrafter.host

import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.latent.LayerCaches
import org.pocketcrafter.core.latent.LayerCaches.Companion.part
import java.io.File

/**
 * Runs a bundle's `onnx` target with ONNX Runtime's Linux library: for tests on a computer.
 *
 * @param bundle where the artifacts come from, each hashed before it is opened.
 * @param library ONNX Runtime's shared library.
 * @param threads threads of one operator, ≥ 1.
 * @param exact whether weights are stored unsigned, where this processor's products of signed ones saturate.
 */
class OnnxRunners(
    private val bundle: Bundle,
    private val library: File,
    override val threads: Int,
    private val exact: Boolean,
) : RunnerSource {
    override val kind = "onnx"

    override val engine = "ONNX Runtime on the CPU (${library.name})"

    override fun open(component: String): Runner {
        val model = bundle.artifact(component, kind)
        val session = calling { Ort.open(library.path, model.path, threads, exact) }
        return OnnxRunner(session, bundle.manifest.component(component))
    }
}

private class OnnxRunner(private var session: Long, private val component: Component) : Runner {
    override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
        if (session == 0L) throw RunnerException("`${component.name}` is closed.")
        // One graph is every function: its free axes take the shapes of each.
        val contract = component.of(function)
        val given = contract.inputs.zip(contract.inOrder(inputs)).map { (spec, values) ->
            Tensor(spec.name, values, spec.shape.map { it.toLong() }.toLongArray())
        }
        val names = contract.outputs.map { it.name }
        if (calling { part("keys", 0) in Ort.inputs(session) }) return byLayer(contract, given, names)
        return run(given, names)
    }

    private class Tensor(val name: String, val values: FloatArray, val shape: LongArray)

    private fun run(given: List<Tensor>, names: List<String>): Map<String, FloatArray> {
        val inputs = given.map { it.name }.toTypedArray()
        val (values, shapes) = given.map { it.values }.toTypedArray() to given.map { it.shape }.toTypedArray()
        return names.zip(calling { Ort.run(session, inputs, values, shapes, names.toTypedArray()) }).toMap()
    }

    /** Runs a graph whose caches are a tensor for each layer; here the outputs are memory of their own. */
    private fun byLayer(contract: Component, given: List<Tensor>, names: List<String>): Map<String, FloatArray> {
        val caches = LayerCaches(contract, given.first { it.name == "mask" }.values)
        val (whole, others) = given.partition { it.name in LayerCaches.NAMES }
        val parts = whole.flatMap { tensor ->
            val all = FloatArray(caches.layers * caches.size)
            caches.fill { place, from, count -> tensor.values.copyInto(all, place, from, from + count) }
            (0 until caches.layers).map { layer ->
                val values = all.copyOfRange(layer * caches.size, (layer + 1) * caches.size)
                Tensor(part(tensor.name, layer), values, caches.shape)
            }
        }
        val new = LayerCaches.NAMES.values
        val wanted = new.flatMap { name -> (0 until caches.layers).map { part(name, it) } }
        val found = run(others + parts, names - new.toSet() + wanted)
        val added = new.associateWith { name ->
            val all = FloatArray(caches.layers * caches.size)
            repeat(caches.layers) { found.getValue(part(name, it)).copyInto(all, it * caches.size) }
            caches.added { place, into, from, count -> all.copyInto(into, from, place, place + count) }
        }
        return found - wanted.toSet() + added
    }

    override fun close() {
        if (session != 0L) Ort.close(session)
        session = 0L
    }
}

private fun <T> calling(work: () -> T): T = try {
    work()
} catch (error: IllegalStateException) {
    throw RunnerException("ONNX Runtime failed: ${error.message}", error)
}

/** The functions of `ort_shim.cpp`; what fails there throws `IllegalStateException`. */
private object Ort {
    init {
        System.load(checkNotNull(System.getProperty("shim")) { "Run with -Dshim=LIBRARY, as `make android` does." })
    }

    external fun open(library: String, model: String, threads: Int, exact: Boolean): Long

    external fun inputs(session: Long): Array<String>

    external fun run(
        session: Long, inputNames: Array<String>, inputs: Array<FloatArray>, shapes: Array<LongArray>, outputNames: Array<String>,
    ): Array<FloatArray>

    external fun close(session: Long)
}
