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
import org.pocketcrafter.core.PocketCrafterException
import org.pocketcrafter.sdk.GoldenReport
import org.pocketcrafter.sdk.MainThread
import org.pocketcrafter.sdk.PocketCrafter
import org.pocketcrafter.sdk.State
import org.pocketcrafter.sdk.deviceFacts
import org.pocketcrafter.sdk.open
import java.io.File
import java.io.IOException

/** Holds the one [PocketCrafter] of the process, which all screens share. */
class DemoApplication : Application() {
    private val scope = CoroutineScope(SupervisorJob() + MainThread)
    private val mutex = Mutex()
    private var crafter: PocketCrafter? = null

    /** Where opening stands. */
    val state = MutableStateFlow<State>(State.Cold)

    /** Why the goldens did not run, or could not be written; `null` once it was shown. */
    val unproved = MutableStateFlow<String?>(null)

    /** Returns the crafter, open; the first time its goldens run then, once for each version of the app. */
    suspend fun crafter(): PocketCrafter = mutex.withLock {
        crafter?.also { it.open() } ?: PocketCrafter.open(this) { state.value = it }.also {
            crafter = it
            scope.launch { proveOnce(it) }
        }
    }

    private suspend fun proveOnce(crafter: PocketCrafter) {
        val installed = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
        val file = goldensFile(installed)
        if (withContext(Dispatchers.IO) { file.exists() }) return
        try {
            store(crafter.goldens(deviceFacts()))
        } catch (error: PocketCrafterException) {
            unproved.value = error.message
        } catch (error: IOException) {
            unproved.value = error.message
        }
    }

    /** Writes rung 4 where `adb pull` finds it. */
    suspend fun store(report: GoldenReport) = withContext(Dispatchers.IO) {
        val installed = packageManager.getPackageInfo(packageName, 0).lastUpdateTime
        goldensFile(installed).writeText(report.json())
    }

    private fun goldensFile(installed: Long) = File(getExternalFilesDir(null) ?: filesDir, "goldens-$installed.json")
}
