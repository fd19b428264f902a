package org.pytorch.executorch

import java.io.Closeable

/**
 * The part of ExecuTorch's Java API that the SDK calls, over the C++ libraries of ExecuTorch's Python wheel: so that the
 * SDK's runner is compiled where `org.pytorch:executorch-android` cannot be had, and run on a computer. No app gets it.
 *
 * Its names, parameters and results are those that ExecuTorch documents; programs are always read whole.
 */
class Module private constructor(private var session: Long) : Closeable {
    /** Loads a method; throws a `RuntimeException` if it cannot be. */
    fun loadMethod(methodName: String) = Wheel.load(session, methodName)

    /** Runs a method; throws a `RuntimeException` if it fails. */
    fun execute(methodName: String, vararg inputs: EValue): Array<EValue> =
        Wheel.run(session, methodName, Array(inputs.size) { inputs[it].toTensor().dataAsFloatArray })
            .map { EValue.from(Tensor.fromBlob(it, longArrayOf(it.size.toLong()))) }.toTypedArray()

    /** Closes the program. */
    fun destroy() {
        if (session != 0L) Wheel.close(session)
        session = 0L
    }

    override fun close() = destroy()

    companion object {
        /** Programs are mapped into memory. */
        const val LOAD_MODE_MMAP = 1

        /** Opens a program; throws a `RuntimeException` if it is none. */
        @JvmStatic
        @Suppress("UNUSED_PARAMETER")
        fun load(modelPath: String, loadMode: Int, numThreads: Int): Module = Module(Wheel.open(modelPath, numThreads))
    }
}

/** What a method takes and gives; here tensors alone. */
class EValue private constructor(private val tensor: Tensor) {
    /** The tensor that it is. */
    fun toTensor(): Tensor = tensor

    companion object {
        /** Makes one of a tensor. */
        @JvmStatic
        fun from(tensor: Tensor): EValue = EValue(tensor)
    }
}

/** A tensor of float32, C order. */
class Tensor private constructor(val dataAsFloatArray: FloatArray) {
    companion object {
        /** Makes one of its values and its shape, which the program knows here. */
        @JvmStatic
        @Suppress("UNUSED_PARAMETER")
        fun fromBlob(data: FloatArray, shape: LongArray): Tensor = Tensor(data)
    }
}

/** The functions of `executorch_shim.cpp`; what fails there throws `IllegalStateException`. */
private object Wheel {
    init {
        System.load(checkNotNull(System.getProperty("executorch")) { "Run with -Dexecutorch=LIBRARY, as `make android` does." })
    }

    external fun open(model: String, threads: Int): Long

    external fun load(session: Long, method: String)

    external fun run(session: Long, method: String, inputs: Array<FloatArray>): Array<FloatArray>

    external fun close(session: Long)
}
