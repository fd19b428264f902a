package org.pocketcrafter.core

/** What runs one network; opened from an artifact by a [RunnerSource]. */
interface Runner : AutoCloseable {
    /**
     * Runs the network once.
     *
     * @param inputs values of each input by name, C order, of the size that the function's contract has.
     * @param function a further function on the same weights, by its name; `null` runs the default one.
     * @return values of each output by name, likewise.
     * @throws RunnerException if it fails.
     */
    fun run(inputs: Map<String, FloatArray>, function: String? = null): Map<String, FloatArray>
}

/** Opens the networks of a bundle; says which engine runs them, and never falls back to another one silently. */
interface RunnerSource {
    /** The kind of target whose artifacts it opens, such as `onnx`. */
    val kind: String

    /** Threads of one operator, ≥ 1. */
    val threads: Int

    /** The engine and its accelerator in words, such as "ONNX Runtime 1.31, CPU". */
    val engine: String

    /**
     * Opens a component.
     *
     * @throws BundleException if the bundle lacks it, or its artifact was changed.
     * @throws RunnerException if it cannot be opened here.
     */
    fun open(component: String): Runner
}
