package org.pocketcrafter.sdk

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor

/**
 * Runs a bundle's `executorch-xnnpack` target with ExecuTorch's Java API (`org.pytorch:executorch-android`).
 *
 * Nothing falls back: what of a program is delegated to XNNPACK was decided when the bundle was built, and is in its
 * manifest. Functions of a component are methods of one program, which is opened once.
 *
 * @param bundle where the artifacts come from, each hashed before it is opened.
 * @param threads threads of the process's one pool, ≥ 1.
 * @throws BundleException if the bundle has no such target.
 */
class ExecuTorchRunners(private val bundle: Bundle, override val threads: Int = 2) : RunnerSource {
    override val kind: String = KIND

    override val engine: String = "ExecuTorch with XNNPACK, on the CPU"

    init {
        val kinds = bundle.manifest.targets.map { it.kind }
        if (KIND !in kinds) throw BundleException("The bundle has no target `$KIND`; it has ${kinds.joinToString()}.")
    }

    override fun open(component: String): Runner {
        val program = bundle.artifact(component, kind)
        val module = calling { Module.load(program.path, Module.LOAD_MODE_MMAP, threads) }
        try {
            // Otherwise it is loaded with the first inference, and what is wrong with it is told then.
            calling { module.loadMethod(DEFAULT) }
        } catch (error: RunnerException) {
            module.destroy()
            throw error
        }
        return ExecuTorchRunner(module, bundle.manifest.component(component))
    }

    internal companion object {
        private const val KIND = "executorch-xnnpack"

        /** What a program calls its default function. */
        const val DEFAULT = "forward"
    }
}

private class ExecuTorchRunner(private val module: Module, private val component: Component) : Runner {
    private var isClosed = false

    override fun run(inputs: Map<String, FloatArray>, function: String?): Map<String, FloatArray> {
        if (isClosed) throw RunnerException("`${component.name}` is closed.")
        val contract = component.of(function)
        val tensors = contract.inputs.zip(contract.inOrder(inputs)) { spec, values ->
            EValue.from(Tensor.fromBlob(values, spec.shape.map { it.toLong() }.toLongArray()))
        }
        val found = calling {
            module.execute(function ?: ExecuTorchRunners.DEFAULT, *tensors.toTypedArray()).map { it.toTensor().dataAsFloatArray }
        }
        if (found.size != contract.outputs.size) {
            throw RunnerException("`${component.name}` gave ${found.size} outputs, not ${contract.outputs.size}.")
        }
        return contract.outputs.map { it.name }.zip(found).toMap()
    }

    override fun close() {
        if (!isClosed) calling { module.destroy() }
        isClosed = true
    }
}

/** ExecuTorch throws a kind of `RuntimeException` for each of its errors. */
private fun <T> calling(work: () -> T): T = try {
    work()
} catch (error: RuntimeException) {
    throw RunnerException("ExecuTorch failed: ${error.message}", error)
}
