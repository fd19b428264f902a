package org.pocketcrafter.app

import android.app.Application
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext
import org.pocketcrafter.sdk.GoldenReport
import org.pocketcrafter.sdk.MainThread
import org.pocketcrafter.sdk.PocketCrafter
import org.pocketcrafter.sdk.State
import org.pocketcrafter.sdk.deviceFacts
import org.pocketcrafter.sdk.open
import java.io.File

/** Holds the one [PocketCrafter] of the process, which all screens share. */
class DemoApplication : Application() {
    private val scope = CoroutineScope(SupervisorJob() + MainThread)
    private val mutex = Mutex()
    private var crafter: PocketCrafter? = null

    /** Where opening stands. */
    val state = MutableStateFlow<State>(State.Cold)

    /** Returns the crafter; opened the first time, and then its goldens run once for each version of the app. */
    suspend fun crafter(): PocketCrafter = mutex.withLock {
        crafter ?: PocketCrafter.open(this) { state.value = it }.also {
            crafter = it
            scope.launch { proveOnce(it) }
        }
    }

    private suspend fun proveOnce(crafter: PocketCrafter) {
        val installed = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
        val file = goldensFile(installed)
        if (withContext(Dispatchers.IO) { file.exists() }) return
        store(crafter.goldens(deviceFacts()))
    }

    /** Writes rung 4 where `adb pull` finds it. */
    suspend fun store(report: GoldenReport) = withContext(Dispatchers.IO) {
        val installed = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
        goldensFile(installed).writeText(report.json())
    }

    private fun goldensFile(installed: Long) = File(getExternalFilesDir(null) ?: filesDir, "goldens-$installed.json")
}
