package org.pocketcrafter.host

import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.bundle.TensorSpec
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
        val values = contract.inOrder(inputs)
        val shapes = contract.inputs.map { spec -> spec.shape.map { it.toLong() }.toLongArray() }
        val names = contract.outputs.map { it.name }
        val found = calling {
            Ort.run(session, names(contract.inputs), values.toTypedArray(), shapes.toTypedArray(), names.toTypedArray())
        }
        return names.zip(found).toMap()
    }

    override fun close() {
        if (session != 0L) Ort.close(session)
        session = 0L
    }

    private fun names(specs: List<TensorSpec>): Array<String> = specs.map { it.name }.toTypedArray()
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

    external fun run(
        session: Long, inputNames: Array<String>, inputs: Array<FloatArray>, shapes: Array<LongArray>, outputNames: Array<String>,
    ): Array<FloatArray>

    external fun close(session: Long)
}
