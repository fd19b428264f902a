package org.pocketcrafter.sdk

import android.content.ComponentCallbacks2
import android.content.Context
import android.content.res.Configuration
import android.os.Build
import android.os.PowerManager
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.pocketcrafter.core.PocketCrafterException

/**
 * Follows the system's heat and memory until [PocketCrafter.close]; what [open] returns does so already.
 *
 * @param context any context of the app; its application's is kept.
 */
fun PocketCrafter.followSystem(context: Context) = onClose(SystemSignals(context.applicationContext, this)::stop)

/** Passes the system's word of heat and of memory on to what works, until it is stopped. */
internal class SystemSignals(private val context: Context, private val crafter: PocketCrafter) : ComponentCallbacks2 {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager
    private val listener = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) Thermal(power, crafter) else null

    init {
        context.registerComponentCallbacks(this)
    }

    fun stop() {
        context.unregisterComponentCallbacks(this)
        listener?.stop()
        scope.cancel()
    }

    override fun onTrimMemory(level: Int) {
        // In the background an app with less memory lives longer; in the foreground only what is urgent counts,
        // and Android 14 and later do not tell of that any more.
        val urgent = level >= ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN || level == ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL
        if (urgent) onLowMemory()
    }

    override fun onLowMemory() {
        scope.launch {
            try {
                crafter.release()
            } catch (_: PocketCrafterException) {
                // The state says it, and nobody called whom it could be thrown to.
            }
        }
    }

    override fun onConfigurationChanged(newConfig: Configuration) = Unit

    /** Kept apart, since Android 9 and older have no such listener. */
    private class Thermal(private val power: PowerManager, private val crafter: PocketCrafter) {
        private val listener = PowerManager.OnThermalStatusChangedListener { status -> crafter.heat = heat(status) }

        init {
            crafter.heat = heat(power.currentThermalStatus)
            power.addThermalStatusListener(listener)
        }

        fun stop() = power.removeThermalStatusListener(listener)

        private fun heat(status: Int): Heat = when {
            status >= PowerManager.THERMAL_STATUS_SEVERE -> Heat.HOT
            status >= PowerManager.THERMAL_STATUS_MODERATE -> Heat.WARM
            else -> Heat.NORMAL
        }
    }
}
