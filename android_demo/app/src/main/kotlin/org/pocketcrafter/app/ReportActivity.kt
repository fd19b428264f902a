package org.pocketcrafter.app

import android.app.Activity
import android.content.Context
import android.content.Intent
import android.os.Bundle
import android.widget.Button
import android.widget.TextView
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.pocketcrafter.core.PocketCrafterException
import org.pocketcrafter.core.bundle.GoldenRun
import org.pocketcrafter.sdk.BenchmarkPlan
import org.pocketcrafter.sdk.MainThread
import org.pocketcrafter.sdk.NetworkSpeed
import org.pocketcrafter.sdk.deviceFacts
import java.io.IOException

/** Runs the goldens or the benchmark, shows what came of it, and writes it as JSON where the user says. */
class ReportActivity : Activity() {
    private val scope = CoroutineScope(SupervisorJob() + MainThread)
    private val lines by lazy { findViewById<TextView>(R.id.lines) }
    private val runButton by lazy { findViewById<Button>(R.id.run) }
    private val exportButton by lazy { findViewById<Button>(R.id.export) }
    private var json: String? = null
    private val demo get() = application as DemoApplication
    private val isBenchmark get() = intent.getStringExtra(KIND) == BENCHMARK

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.report)
        setTitle(if (isBenchmark) R.string.benchmark else R.string.goldens)
        findViewById<TextView>(R.id.about).setText(if (isBenchmark) R.string.benchmark_about else R.string.goldens_about)
        runButton.setOnClickListener { run() }
        exportButton.setOnClickListener { export() }
        json = savedInstanceState?.getString(JSON)
        lines.text = savedInstanceState?.getCharSequence(LINES)
        exportButton.isEnabled = json != null
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(JSON, json)
        outState.putCharSequence(LINES, lines.text)
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }

    private fun run() {
        runButton.isEnabled = false
        scope.launch {
            try {
                json = if (isBenchmark) benchmark() else goldens()
                exportButton.isEnabled = true
            } catch (error: PocketCrafterException) {
                lines.text = getString(R.string.failed, error.message)
            }
            runButton.isEnabled = true
        }
    }

    private suspend fun goldens(): String {
        val report = demo.crafter().goldens(deviceFacts()) { done, all -> told(getString(R.string.measuring, "$done / $all")) }
        lines.text = report.runs.joinToString("\n") { line(it) }
        try {
            demo.store(report)
        } catch (error: IOException) {
            lines.append("\n" + getString(R.string.failed, error.message))
        }
        return report.json()
    }

    private suspend fun benchmark(): String {
        val report = demo.crafter().benchmark(BenchmarkPlan(), deviceFacts()) { told(getString(R.string.measuring, it)) }
        lines.text = report.networks.joinToString("\n") { line(it) }
        return report.json()
    }

    private fun told(text: String) {
        scope.launch { lines.text = text }
    }

    private fun line(run: GoldenRun): String {
        val worst = run.fidelity.mapNotNull { it.sqnrDb }.minOrNull()
        val distance = if (worst == null) getString(R.string.identical) else getString(R.string.decibels, worst)
        val verdict = when (run.passed) {
            true -> R.string.golden_passed
            false -> R.string.golden_failed
            null -> R.string.golden_measured
        }
        return getString(verdict, run.component, distance)
    }

    private fun line(speed: NetworkSpeed): String = getString(
        R.string.speed, speed.component, speed.loadMs, speed.firstMs, speed.medianMs,
        speed.sustained.lastOrNull()?.medianMs ?: speed.medianMs, speed.peakRssMib,
    )

    private fun export() {
        val name = if (isBenchmark) "latency.json" else "goldens.json"
        val wanted = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE)
        startActivityForResult(wanted.setType("application/json").putExtra(Intent.EXTRA_TITLE, name), EXPORT)
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        val uri = data?.data ?: return
        val text = json ?: return
        if (requestCode != EXPORT || resultCode != RESULT_OK) return
        scope.launch {
            try {
                withContext(Dispatchers.IO) {
                    val stream = contentResolver.openOutputStream(uri) ?: throw IOException("the file is not there")
                    stream.use { it.write(text.encodeToByteArray()) }
                }
            } catch (error: IOException) {
                lines.text = getString(R.string.failed, error.message)
            }
        }
    }

    companion object {
        /** Runs the goldens. */
        const val GOLDENS = "goldens"

        /** Times the networks. */
        const val BENCHMARK = "benchmark"
        private const val KIND = "kind"
        private const val JSON = "json"
        private const val LINES = "lines"
        private const val EXPORT = 1

        /** Returns what starts the screen of [GOLDENS] or [BENCHMARK]. */
        fun intent(context: Context, kind: String): Intent = Intent(context, ReportActivity::class.java).putExtra(KIND, kind)
    }
}
