package org.pocketcrafter.sdk

import org.pocketcrafter.core.ConfigException
import org.pocketcrafter.core.Runner
import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.Bundle
import org.pocketcrafter.core.bundle.Component
import org.pocketcrafter.core.bundle.Goldens
import org.pocketcrafter.core.bundle.jsonText
import java.io.File
import java.io.IOException

/**
 * How often and how long [PocketCrafter.benchmark] measures.
 *
 * @property repeats timed runs of each network, ≥ 1.
 * @property sustainedSeconds how long each network then runs without a pause; 0 leaves that out.
 * @property windowSeconds the length of one point of that curve, ≥ 1.
 * @throws ConfigException if one is less.
 */
data class BenchmarkPlan(val repeats: Int = 30, val sustainedSeconds: Int = 60, val windowSeconds: Int = 10) {
    init {
        if (repeats < 1 || sustainedSeconds < 0 || windowSeconds < 1) throw ConfigException("Nothing can be measured by $this.")
    }
}

/**
 * The speed of one network, in milliseconds.
 *
 * @property loadMs opening it.
 * @property firstMs the first inference.
 * @property samplesMs warm inferences, in the order they were taken.
 * @property cpuMs mean CPU time of a warm inference, over all threads.
 * @property peakRssMib highest resident memory of the app so far.
 * @property sqnrDb the worst output against the golden; `null` where all are identical.
 * @property sustained windows of the run without a pause.
 */
class NetworkSpeed(
    val component: String,
    val precision: String,
    val loadMs: Double,
    val firstMs: Double,
    val samplesMs: List<Double>,
    val cpuMs: Double,
    val baseRssMib: Double,
    val peakRssMib: Double,
    val sqnrDb: Double?,
    val sustained: List<Window>,
) {
    /** The median of the warm runs. */
    val medianMs: Double get() = quantile(samplesMs, 0.5)

    /**
     * A part of the run without a pause.
     *
     * @property seconds its end since the start.
     * @property temperatureCelsius the hottest zone that can be read; `null` where none can.
     */
    class Window(
        val seconds: Double, val inferences: Int, val medianMs: Double, val rssMib: Double, val temperatureCelsius: Double?,
    )
}

/** What a benchmark found; [json] is what `pocketcrafter bench latency --json` writes, and `bench compare` reads it. */
class BenchmarkReport internal constructor(val networks: List<NetworkSpeed>, private val report: Map<String, Any?>) {
    /** The report as JSON. */
    fun json(): String = jsonText(report)
}

internal class Benchmark(
    private val bundle: Bundle,
    private val runners: RunnerSource,
    private val plan: BenchmarkPlan,
    private val facts: DeviceFacts,
) {
    private val target = targetOf(bundle.manifest, runners)

    fun run(progress: (String) -> Unit): BenchmarkReport {
        val started = now()
        val load = first("/proc/loadavg")?.substringBefore(' ')?.toDoubleOrNull() ?: 0.0
        val networks = bundle.manifest.components.map { component ->
            progress(component.name)
            measured(component) { progress(component.name) }
        }
        return BenchmarkReport(networks, report(networks, started, load))
    }

    private fun measured(component: Component, tick: () -> Unit): NetworkSpeed {
        val inputs = Goldens.inputs(bundle, component)
        val base = memoryMib("VmRSS")
        val opening = System.nanoTime()
        return runners.open(component.name).use { runner ->
            val loadMs = millisSince(opening)
            val firstStart = System.nanoTime()
            val answer = runner.run(inputs)
            val firstMs = millisSince(firstStart)
            val cpuStart = cpuMs()
            val samples = List(plan.repeats) {
                tick()
                timed(runner, inputs)
            }
            val cpu = (cpuMs() - cpuStart) / plan.repeats
            val sustained = sustained(runner, inputs, tick)
            NetworkSpeed(
                component.name, component.artifacts.getValue(target).precision, loadMs, firstMs, samples,
                maxOf(cpu, SMALLEST_MS), base, memoryMib("VmHWM"), worst(component, inputs, answer), sustained,
            )
        }
    }

    private fun sustained(runner: Runner, inputs: Map<String, FloatArray>, tick: () -> Unit): List<NetworkSpeed.Window> {
        val start = System.nanoTime()
        return (1..plan.sustainedSeconds / plan.windowSeconds).map { window ->
            val taken = mutableListOf<Double>()
            while (taken.isEmpty() || millisSince(start) < window * plan.windowSeconds * 1e3) {
                tick()
                taken += timed(runner, inputs)
            }
            NetworkSpeed.Window(millisSince(start) / 1e3, taken.size, quantile(taken, 0.5), memoryMib("VmRSS"), hottestCelsius())
        }
    }

    private fun worst(component: Component, inputs: Map<String, FloatArray>, answer: Map<String, FloatArray>): Double? {
        val golden = component.goldens.first { it.function == null }
        return Goldens.compared(bundle, component, golden, inputs, answer).mapNotNull { it.sqnrDb }.minOrNull()
    }

    private fun report(networks: List<NetworkSpeed>, started: String, load: Double): Map<String, Any?> = mapOf(
        "schema_version" to 4,
        "bundle" to bundle.manifest.name,
        "manifest_sha256" to bundle.manifest.sha256,
        "machine" to machine(load),
        "started" to started,
        "repeats" to plan.repeats,
        "noise_limit" to NOISE_LIMIT,
        "cases" to networks.map(::case),
        "sustained" to networks.filter { it.sustained.isNotEmpty() }.map(::curve),
    )

    private fun machine(load: Double): Map<String, Any?> {
        val cores = Runtime.getRuntime().availableProcessors()
        return mapOf(
            "cpu" to "${facts.model} (${facts.soc})",
            "instruction_set" to instructionSet(),
            "cores" to cores,
            "usable_cores" to cores,
            "ram_mib" to (first("/proc/meminfo")?.filter { it.isDigit() }?.toLongOrNull() ?: 0L) / 1024,
            "system" to facts.system,
            "tools" to mapOf("engine" to runners.engine),
            "load_before" to load,
        )
    }

    private fun case(speed: NetworkSpeed): Map<String, Any?> {
        val noisy = spread(speed.samplesMs) > NOISE_LIMIT
        return mapOf(
            "runner" to target, "ours" to true, "precision" to speed.precision, "component" to speed.component, "threads" to runners.threads,
            "load_ms" to listOf(speed.loadMs), "first_ms" to listOf(speed.firstMs), "in_a_row" to 1,
            "warm" to timing(speed.samplesMs), "cpu_ms" to speed.cpuMs, "base_rss_mib" to speed.baseRssMib,
            "peak_rss_mib" to speed.peakRssMib, "sqnr_db" to speed.sqnrDb, "attempts" to 1, "noisy" to noisy,
        )
    }

    private fun curve(speed: NetworkSpeed): Map<String, Any?> = mapOf(
        "runner" to target, "component" to speed.component, "threads" to runners.threads,
        "points" to speed.sustained.map {
            mapOf(
                "seconds" to it.seconds, "inferences" to it.inferences, "median_ms" to it.medianMs, "rss_mib" to it.rssMib,
                "frequency_mhz" to null, "temperature_celsius" to it.temperatureCelsius,
            )
        },
    )

    private fun timing(samples: List<Double>): Map<String, Any?> = mapOf(
        "samples_ms" to samples, "median_ms" to quantile(samples, 0.5), "p90_ms" to quantile(samples, 0.9),
        "p99_ms" to quantile(samples, 0.99), "spread" to spread(samples),
        "median_interval_ms" to medianInterval(samples)?.let { (low, high) -> mapOf("low" to low, "high" to high) },
    )

    private companion object {
        const val NOISE_LIMIT = 0.2
        const val SMALLEST_MS = 1e-3
    }
}

/** A quantile by linear interpolation, as numpy has it. */
internal fun quantile(samples: List<Double>, share: Double): Double {
    val ordered = samples.sorted()
    val place = share * (ordered.size - 1)
    val below = place.toInt()
    val above = minOf(below + 1, ordered.lastIndex)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
}

private fun spread(samples: List<Double>): Double = (quantile(samples, 0.9) - quantile(samples, 0.1)) / quantile(samples, 0.5)

/** The 95 % interval of the median by order statistics; `null` for fewer than six samples. */
internal fun medianInterval(samples: List<Double>): Pair<Double, Double>? {
    val ordered = samples.sorted()
    var missed = 0.0
    var ways = Math.scalb(1.0, -ordered.size)
    var k = 0
    while (k < ordered.size / 2) {
        missed += ways
        if (2 * missed > 0.05) break
        ways = ways * (ordered.size - k) / (k + 1)
        k++
    }
    return if (k == 0) null else ordered[k - 1] to ordered[ordered.size - k]
}

private fun timed(runner: Runner, inputs: Map<String, FloatArray>): Double {
    val start = System.nanoTime()
    runner.run(inputs)
    return millisSince(start)
}

private fun millisSince(nanos: Long): Double = (System.nanoTime() - nanos) / 1e6

/** CPU time of this process, which the kernel counts in hundredths of a second. */
private fun cpuMs(): Double =
    first("/proc/self/stat")?.substringAfterLast(") ")?.split(' ')?.let { 10.0 * (it[11].toLong() + it[12].toLong()) } ?: 0.0

private fun memoryMib(key: String): Double = lines("/proc/self/status").find { it.startsWith("$key:") }
    ?.filter { it.isDigit() }?.toDoubleOrNull()?.div(1024) ?: 0.0

private fun hottestCelsius(): Double? = File("/sys/class/thermal").listFiles().orEmpty()
    .mapNotNull { first("${it.path}/temp")?.trim()?.toDoubleOrNull()?.div(1000) }.filter { it in 1.0..150.0 }.maxOrNull()

private fun instructionSet(): String {
    val words = lines("/proc/cpuinfo").filter { it.startsWith("Features") || it.startsWith("flags") }
        .flatMap { it.substringAfter(':').split(' ') }.toSet()
    return INSTRUCTION_SETS.entries.find { it.key in words }?.value ?: "unknown"
}

private fun first(path: String): String? = lines(path).firstOrNull()

/** Lines of a file of the kernel's; none where it may not be read. */
private fun lines(path: String): List<String> = try {
    File(path).readLines()
} catch (_: IOException) {
    emptyList()
}

/** What `/proc/cpuinfo` calls the instructions that multiply integers, the most capable first. */
private val INSTRUCTION_SETS = mapOf(
    "amx_int8" to "AMX", "avx512_vnni" to "AVX-512 VNNI", "avx_vnni" to "AVX-VNNI", "avx512bw" to "AVX-512", "avx2" to "AVX2",
    "sse2" to "SSE", "i8mm" to "NEON i8mm", "asimddp" to "NEON dotprod", "asimd" to "NEON",
)
