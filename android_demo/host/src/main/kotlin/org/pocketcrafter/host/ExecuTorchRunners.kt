package org.pocketcrafter.host

import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component

/**
 * Runs a bundle's `executorch-xnnpack` target with the C++ libraries of ExecuTorch's Python wheel: for tests on a
 * computer. Apps would take `org.pytorch:executorch-android`, whose Java API cannot be had where this is compiled.
 *
 * @param bundle where the artifacts come from, each hashed before it is opened.
 * @param threads threads of the process's one pool, ≥ 1.
 */
class ExecuTorchRunners(private val bundle: Bundle, override val threads: Int) : RunnerSource {
    override val kind = "executorch-xnnpack"

    override val engine = "ExecuTorch with XNNPACK, on the CPU"

    override fun open(component: String): Runner {
        val model = bundle.artifact(component, kind)
        return ExecuTorchRunner(calling { ExecuTorch.open(model.path, threads) }, bundle.manifest.component(component))
    }
}

/** What a program calls its default function. */
private const val DEFAULT = "forward"

private class ExecuTorchRunner(private var session: Long, private val component: Component) : Runner {
    override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
        if (session == 0L) throw RunnerException("`${component.name}` is closed.")
        val contract = component.of(function)
        val values = contract.inOrder(inputs).toTypedArray()
        return contract.outputs.map { it.name }.zip(calling { ExecuTorch.run(session, function ?: DEFAULT, values) }).toMap()
    }

    override fun close() {
        if (session != 0L) ExecuTorch.close(session)
        session = 0L
    }
}

private fun <T> calling(work: () -> T): T = try {
    work()
} catch (error: IllegalStateException) {
    throw RunnerException("ExecuTorch failed: ${error.message}", error)
}

/** The functions of `executorch_shim.cpp`; what fails there throws `IllegalStateException`. */
private object ExecuTorch {
    init {
        System.load(checkNotNull(System.getProperty("executorch")) { "Run with -Dexecutorch=LIBRARY, as `make android` does." })
    }

    external fun open(model: String, threads: Int): Long

    external fun run(session: Long, method: String, inputs: Array<FloatArray>): Array<FloatArray>

    external fun close(session: Long)
}
