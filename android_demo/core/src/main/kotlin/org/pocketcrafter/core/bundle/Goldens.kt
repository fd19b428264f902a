package org.pocketcrafter.core.bundle

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerException
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.ShapeException
import java.io.DataInputStream
import java.io.File
import java.io.IOException
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import kotlin.math.abs
import kotlin.math.log10
import kotlin.math.sqrt

/**
 * How close one output is to its reference.
 *
 * @property output its name; `<function>.<name>` of a further function.
 * @property sqnrDb signal-to-quantization-noise ratio; `null` where the two are identical. Of an output that mends an
 *   input, it and the cosine are of what is changed.
 * @property maxAbsError the largest difference, in the output's unit.
 */
data class Fidelity(val output: String, val sqnrDb: Double?, val cosine: Double, val maxAbsError: Double) {
    companion object {
        private const val LOWEST_DB = -1e3

        /**
         * Compares two arrays of one size.
         *
         * @param mended the input that the output is a changed copy of, of their size; the changes are compared.
         * @throws ShapeException if their sizes differ.
         * @throws RunnerException if a value is not finite.
         */
        fun between(output: String, reference: FloatArray, actual: FloatArray, mended: FloatArray? = null): Fidelity {
            if (reference.size != actual.size) throw ShapeException("`$output` has ${actual.size} values, not ${reference.size}.")
            if (!actual.all { it.isFinite() }) throw RunnerException("`$output` has values that are not finite.")
            var signal = 0.0
            var noise = 0.0
            var other = 0.0
            var product = 0.0
            var worst = 0.0
            for (n in reference.indices) {
                val before = mended?.get(n)?.toDouble() ?: 0.0
                val expected = reference[n] - before
                val found = actual[n] - before
                signal += expected * expected
                other += found * found
                product += expected * found
                noise += (expected - found) * (expected - found)
                worst = maxOf(worst, abs(expected - found))
            }
            val ratio = if (signal > 0) maxOf(10 * log10(signal / noise), LOWEST_DB) else LOWEST_DB
            val lengths = sqrt(signal) * sqrt(other)
            val cosine = if (lengths > 0) (product / lengths).coerceIn(-1.0, 1.0) else if (signal == other) 1.0 else 0.0
            return Fidelity(output, if (noise == 0.0) null else ratio, cosine, worst)
        }
    }
}

/**
 * A component's goldens, run again here.
 *
 * @property passed whether every output reaches the artifact's gate; `null` where that asks for another figure.
 */
data class GoldenRun(val component: String, val gateDb: Double?, val fidelity: List<Fidelity>) {
    val passed: Boolean? get() = gateDb?.let { gate -> fidelity.all { it.sqnrDb == null || it.sqnrDb >= gate } }
}

/** Goldens of a bundle: what its networks were recorded to answer. */
object Goldens {
    private const val MAGIC = 6
    private const val BYTE_IS_UNIT = 255f
    private val HEADER = Regex("\\{'descr': '([|<][a-z][0-9])', 'fortran_order': False, 'shape': \\(([0-9, ]*)\\), \\}\\s*")

    /**
     * Runs the goldens of every component of a target.
     *
     * @param kind the target's kind, such as `onnx`.
     * @param progress called with components done and components in all.
     * @throws BundleException if a file is damaged.
     * @throws RunnerException if a network does not run here.
     */
    fun run(bundle: Bundle, runners: RunnerSource, kind: String, progress: (Int, Int) -> Unit = { _, _ -> }): List<GoldenRun> {
        val components = bundle.manifest.components
        val target = bundle.manifest.targets.find { it.kind == kind } ?: throw BundleException("The bundle has no target `$kind`.")
        return components.mapIndexed { done, component ->
            runners.open(component.name).use { runner ->
                val fidelity = component.goldens.flatMap { golden -> compared(bundle, component, golden, runner) }
                progress(done + 1, components.size)
                GoldenRun(component.name, component.artifacts.getValue(target.name).minimumSqnr, fidelity)
            }
        }
    }

    /** Reads the inputs of the first golden of a component's default function. */
    fun inputs(bundle: Bundle, component: Component): Map<String, FloatArray> {
        val golden = component.goldens.firstOrNull { it.function == null } ?: throw BundleException("`${component.name}` has no golden.")
        return read(bundle.file(golden.inputs), component.inputs)
    }

    /**
     * Compares an answer to a golden's inputs with the recorded one.
     *
     * @param component with the contract of the golden's function.
     * @throws BundleException if the file is damaged.
     */
    fun compared(
        bundle: Bundle, component: Component, golden: Golden, inputs: Map<String, FloatArray>, answer: Map<String, FloatArray>,
    ): List<Fidelity> {
        val expected = read(bundle.file(golden.outputs), component.outputs)
        return component.outputs.map { output ->
            val mended = output.mends?.let { inputs[it] ?: throw BundleException("`${output.name}` mends `$it`, which is no input.") }
            Fidelity.between(output.name, expected.getValue(output.name), answer.getValue(output.name), mended)
        }
    }

    /**
     * Reads an archive of tensors, as numpy writes it.
     *
     * @throws BundleException if it does not hold exactly these tensors in their shapes.
     */
    fun read(file: File, specs: List<TensorSpec>): Map<String, FloatArray> = try {
        ZipFile(file).use { archive ->
            val names = archive.entries().asSequence().map { it.name }.toSet()
            if (names != specs.map { "${it.name}.npy" }.toSet()) throw BundleException("`${file.name}` holds $names.")
            specs.associate { spec ->
                val content = archive.getInputStream(archive.getEntry("${spec.name}.npy"))
                spec.name to DataInputStream(content).use { array(it, spec, file.name) }
            }
        }
    } catch (error: IOException) {
        throw BundleException("`${file.name}` cannot be read: ${error.message}", error)
    }

    private fun compared(bundle: Bundle, component: Component, golden: Golden, runner: Runner): List<Fidelity> {
        val contract = component.of(golden.function)
        val inputs = read(bundle.file(golden.inputs), contract.inputs)
        return compared(bundle, contract, golden, inputs, runner.run(inputs, golden.function))
            .map { if (golden.function == null) it else it.copy(output = "${golden.function}.${it.output}") }
    }

    private fun array(stream: DataInputStream, spec: TensorSpec, file: String): FloatArray {
        val start = ByteArray(MAGIC + 2).also(stream::readFully)
        if (start.decodeToString(1, MAGIC) != "NUMPY") throw BundleException("`$file`: `${spec.name}` is no numpy array.")
        val length = ByteArray(2).also(stream::readFully).let { (it[0].toInt() and 0xFF) or ((it[1].toInt() and 0xFF) shl 8) }
        val header = ByteArray(length).also(stream::readFully).decodeToString()
        val (kind, shape) = HEADER.matchEntire(header)?.destructured
            ?: throw BundleException("`$file`: the header of `${spec.name}` is `${header.take(80)}`.")
        val sides = shape.split(',').map { it.trim() }.filter { it.isNotEmpty() }.map { it.toIntOrNull() }
        if (sides != spec.shape) throw BundleException("`$file`: `${spec.name}` is of shape $sides, not ${spec.shape}.")
        val bytes = { width: Int ->
            ByteBuffer.wrap(ByteArray(spec.size * width).also(stream::readFully)).order(ByteOrder.LITTLE_ENDIAN)
        }
        return when (kind) {
            "|u1" -> bytes(1).let { data -> FloatArray(spec.size) { (data.get(it).toInt() and 0xFF) / BYTE_IS_UNIT } }
            "<f2" -> bytes(2).let { data -> FloatArray(spec.size) { half(data.getShort(2 * it)) } }
            "<f4" -> bytes(4).let { data -> FloatArray(spec.size) { data.getFloat(4 * it) } }
            else -> throw BundleException("`$file`: `${spec.name}` has numbers of the kind `$kind`.")
        }
    }

    /** Widens an IEEE 754 half, whose exponent is rebased by a product: exact, for subnormals too. */
    private fun half(bits: Short): Float {
        val magnitude = (bits.toInt() and 0x7FFF) shl 13
        val value = Float.fromBits(magnitude) * Float.fromBits(0x77800000)
        return if (bits < 0) -value else value
    }
}
