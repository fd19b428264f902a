package org.pocketcrafter.sdk

import org.pocketcrafter.core.RunnerSource
import org.pocketcrafter.core.bundle.GoldenRun
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.core.bundle.jsonText
import java.time.Instant
import java.time.temporal.ChronoUnit

/**
 * What a device is; nothing that tells one of a kind from another.
 *
 * @property model such as `Pixel 9`.
 * @property soc the chip, as far as the system names it.
 * @property system such as `Android 15, API 35`.
 * @property machine the processor's architecture as the kernel calls it.
 */
data class DeviceFacts(val model: String, val soc: String, val system: String, val machine: String) {
    internal fun json(): Map<String, Any?> = mapOf("model" to model, "soc" to soc, "system" to system, "machine" to machine)
}

/**
 * Rung 4 of the parity ladder: the goldens, run on this device by this engine.
 *
 * @property runs what each network reached.
 */
class GoldenReport(
    private val manifest: Manifest,
    private val runners: RunnerSource,
    private val facts: DeviceFacts,
    val runs: List<GoldenRun>,
) {
    private val started = now()

    /** Whether every network reached its gate; `null` where none missed it, but one has a gate of another figure. */
    val passed: Boolean? get() = if (runs.any { it.passed == false }) false else if (runs.all { it.passed == true }) true else null

    /** The report as `pocketcrafter device bench` and `device goldens` write theirs. */
    fun json(): String = jsonText(
        mapOf(
            "schema_version" to 1,
            "bundle" to manifest.name,
            "manifest_sha256" to manifest.sha256,
            "target" to targetOf(manifest, runners),
            "device" to facts.json(),
            "started" to started,
            "goldens" to runs.map(::golden),
        ),
    )

    private fun golden(run: GoldenRun): Map<String, Any?> {
        val fidelity = run.fidelity.map {
            mapOf("output" to it.output, "sqnr_db" to it.sqnrDb, "cosine" to it.cosine, "max_abs_error" to it.maxAbsError)
        }
        val gates = listOfNotNull(run.gateDb?.let { mapOf("metric" to "sqnr-db", "minimum" to it) })
        val rung = mapOf(
            "rung" to 4, "passed" to run.passed, "gates" to gates, "fidelity" to fidelity,
            "how" to "the full-precision goldens, on ${facts.model} (${facts.soc}) by ${runners.engine}",
        )
        return mapOf("component" to run.component, "against_host" to emptyList<Any>(), "against_golden" to fidelity, "rung" to rung)
    }
}

internal fun targetOf(manifest: Manifest, runners: RunnerSource): String = manifest.targets.first { it.kind == runners.kind }.name

internal fun now(): String = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString()
