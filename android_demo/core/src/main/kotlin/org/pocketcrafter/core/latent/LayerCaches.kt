package org.pocketcrafter.core.latent

import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.generated.Constants.MASKED

/**
 * The caches of a language model's `onnx` graph, which has an input and an output for each layer: `keys.0`, `new_keys.0`.
 *
 * Where both are one place in memory, the graph writes what new positions add behind what was read, and copies nothing.
 *
 * @param contract of the function that runs.
 * @param mask the function's input of that name; its first row says how many positions were read.
 */
class LayerCaches(contract: Component, mask: FloatArray) {
    private val whole = contract.input("keys").shape
    private val count = contract.input("embeddings").shape[0]
    private val read = (0 until whole[2]).count { mask[it] > MASKED / 2 }
    private val width = whole[3]

    /** How many layers there are. */
    val layers: Int get() = whole[0]

    /** Of one layer's caches: `(1, heads, positions, width)`, with room for those that the function reads. */
    val shape: LongArray = longArrayOf(1, whole[1].toLong(), (read + count).toLong(), width.toLong())

    /** Values of one layer's caches. */
    val size: Int = whole[1] * (read + count) * width

    /** Says for each head where the values that were read go in all layers' caches, and where they lie in the contract's. */
    fun fill(put: (place: Int, from: Int, values: Int) -> Unit) {
        for (head in 0 until layers * whole[1]) {
            put(head * (read + count) * width, head * whole[2] * width, read * width)
        }
    }

    /** Returns what new positions added, `(layers, heads, positions, width)`; [get] copies values out of all layers' caches. */
    fun added(get: (place: Int, into: FloatArray, from: Int, values: Int) -> Unit): FloatArray {
        val new = FloatArray(layers * whole[1] * count * width)
        for (head in 0 until layers * whole[1]) {
            get((head * (read + count) + read) * width, new, head * count * width, count * width)
        }
        return new
    }

    companion object {
        /** Inputs that are caches, and the outputs that are added to each. */
        val NAMES = mapOf("keys" to "new_keys", "values" to "new_values")

        /** What a graph calls one layer's part of a tensor. */
        fun part(name: String, layer: Int): String = "$name.$layer"
    }
}
