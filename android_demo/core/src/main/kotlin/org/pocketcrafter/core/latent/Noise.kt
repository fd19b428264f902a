package org.pocketcrafter.core.latent

import org.pocketcrafter.core.photo.Planes
import kotlin.math.PI
import kotlin.math.cos
import kotlin.math.ln
import kotlin.math.sin
import kotlin.math.sqrt

/**
 * Normal noise from Philox 4x64 with ten rounds (Salmon et al., 2011) and the Box-Muller transform.
 *
 * @param seed the generator's key. Its counter is raised before each block of four words, as numpy does.
 */
class Noise(private val seed: Long) {
    private val counter = LongArray(WORDS)
    private var block = LongArray(WORDS)
    private var taken = WORDS

    /** Returns the next numbers; each call takes an even count of them off the stream. */
    fun draw(count: Int): FloatArray {
        val pairs = (count + 1) / 2
        val first = DoubleArray(pairs) { uniform() }
        val second = DoubleArray(pairs) { uniform() }
        return FloatArray(count) { n ->
            val pair = n % pairs
            // The first lies in (0, 1]: the logarithm of 0 would be infinite.
            val radius = sqrt(-2 * ln(first[pair] + STEP))
            val angle = 2 * PI * second[pair]
            (radius * if (n < pairs) cos(angle) else sin(angle)).toFloat()
        }
    }

    private fun uniform(): Double {
        if (taken == WORDS) {
            // Four words of counter: the first overflows after 2^66 numbers.
            counter[0]++
            block = philox()
            taken = 0
        }
        return (block[taken++] ushr SPARE_BITS) * STEP
    }

    private fun philox(): LongArray {
        var (a, b, c, d) = counter
        var key = seed
        var other = 0L
        repeat(ROUNDS) {
            val high = high(FIRST, a)
            val low = FIRST * a
            a = high(SECOND, c) xor b xor key
            b = SECOND * c
            c = high xor d xor other
            d = low
            key += FIRST_STEP
            other += SECOND_STEP
        }
        return longArrayOf(a, b, c, d)
    }

    private companion object {
        const val WORDS = 4
        const val ROUNDS = 10
        const val SPARE_BITS = 11
        const val STEP = 1.0 / (1L shl 53)
        const val LOW = 0xFFFFFFFFL
        val FIRST = 0xD2E7470EE14C6C93UL.toLong()
        val SECOND = 0xCA5A826395121157UL.toLong()
        val FIRST_STEP = 0x9E3779B97F4A7C15UL.toLong()
        val SECOND_STEP = 0xBB67AE8584CAA73BUL.toLong()

        /** The upper 64 bits of an unsigned product; `Math.multiplyHigh` is signed, and not on every Android. */
        fun high(one: Long, other: Long): Long {
            val middle = (one ushr 32) * (other and LOW) + ((one and LOW) * (other and LOW) ushr 32)
            val lower = (one and LOW) * (other ushr 32) + (middle and LOW)
            return (one ushr 32) * (other ushr 32) + (middle ushr 32) + (lower ushr 32)
        }
    }
}

/**
 * Carries out all steps of a denoising network.
 *
 * @param start the latents where they begin.
 * @param noise where steps that add noise draw it.
 * @param predict the network: of the scaled latents and the timestep.
 */
fun denoised(start: Planes, steps: List<StepSettings>, noise: Noise, predict: (Planes, Double) -> Planes): Planes =
    steps.fold(start) { latents, step ->
        val prediction = predict(latents.map { it * step.scale }, step.timestep)
        val moved = latents.with(prediction) { kept, told -> kept * step.keep + told * step.move }
        if (step.noise == 0f) {
            moved
        } else {
            val fresh = Planes(moved.channels, moved.height, moved.width, noise.draw(moved.values.size))
            moved.with(fresh) { value, drawn -> value + drawn * step.noise }
        }
    }
