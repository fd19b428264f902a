package org.pocketcrafter.sdk

import org.pocketcrafter.core.BundleException
import org.pocketcrafter.core.bundle.Manifest
import org.pocketcrafter.core.bundle.Target

/** What of a phone computes. */
sealed interface Accelerator {
    /** ONNX Runtime's own kernels. */
    data object Cpu : Accelerator

    /** Android's neural networks API; deprecated since Android 15, and left to the driver. */
    data object Nnapi : Accelerator

    /**
     * Qualcomm's HTP, where the app brings an ONNX Runtime with QNN and Qualcomm's libraries.
     *
     * @property soc the phone's chip as Android names it (`Build.SOC_MODEL`), such as `SM8750`; with it the bundle's
     *   binary for this chip is run, and its `onnx` target is compiled on the phone where it has none.
     * @property performance what the HTP trades for speed.
     */
    data class Qnn(val soc: String? = null, val performance: HtpPerformance = HtpPerformance.BURST) : Accelerator {
        /** What ONNX Runtime is told of the HTP. */
        internal val options: Map<String, String> get() = mapOf(
            "backend_path" to "libQnnHtp.so",
            "htp_performance_mode" to performance.key,
            "htp_graph_finalization_optimization_mode" to "3",
        )
    }
}

/** How the HTP is clocked; [key] is what ONNX Runtime calls it. */
enum class HtpPerformance(internal val key: String) {
    /** As fast as it goes, for a photo now and then. */
    BURST("burst"),

    /** Fast without end, for photo after photo. */
    SUSTAINED("sustained_high_performance"),

    /** Between speed and battery. */
    BALANCED("balanced"),

    /** Slow, for work in the background. */
    POWER_SAVER("power_saver"),
}

/**
 * Returns the target whose artifacts ONNX Runtime opens on an accelerator.
 *
 * @throws BundleException if the bundle has none.
 */
internal fun targetFor(manifest: Manifest, accelerator: Accelerator): Target {
    val soc = (accelerator as? Accelerator.Qnn)?.soc?.uppercase()
    val compiled = manifest.targets.find { it.kind.startsWith("qnn-context") && soc in it.soc.orEmpty().split(", ") }
    return compiled ?: manifest.targets.find { it.kind == "onnx" }
        ?: throw BundleException("The bundle has no target `onnx`${soc?.let { ", and none for $it" }.orEmpty()}; it has ${manifest.targets.joinToString { it.kind }}.")
}
