package app.palmtop.demo

import android.app.ActivityManager
import android.content.Context
import android.os.Build
import android.os.PowerManager
import org.json.JSONObject
import java.util.Locale

/** What is known of the device that numbers are taken on. */
class Phone(
    private val context: Context,
) {
    /** How hot the device says it is: a PowerManager.THERMAL_STATUS_*; [UNKNOWN_HEAT] before Android 10. */
    fun heat(): Int {
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.Q) return UNKNOWN_HEAT
        return (context.getSystemService(Context.POWER_SERVICE) as PowerManager).currentThermalStatus
    }

    /** The device as the shared JSON has it. */
    fun described(): JSONObject =
        JSONObject()
            .put("model", "${Build.MANUFACTURER} ${Build.MODEL}")
            .put("chip", chip())
            .put("cores", Runtime.getRuntime().availableProcessors())
            .put("memory_gb", String.format(Locale.ROOT, "%.1f", memoryBytes() / BYTES_OF_GB).toDouble())
            .put("system", "Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})")

    private fun chip(): String =
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.S) "${Build.SOC_MANUFACTURER} ${Build.SOC_MODEL}" else Build.HARDWARE

    private fun memoryBytes(): Long {
        val found = ActivityManager.MemoryInfo()
        (context.getSystemService(Context.ACTIVITY_SERVICE) as ActivityManager).getMemoryInfo(found)
        return found.totalMem
    }

    companion object {
        /** Of a device that can't tell. */
        const val UNKNOWN_HEAT = -1

        /** From PowerManager.THERMAL_STATUS_SEVERE on the device slows itself down, and its numbers don't count. */
        const val TOO_HOT = 3

        /** As the shared JSON says it, in the order of THERMAL_STATUS_*. */
        private val HEAT = listOf("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")

        /** A status in English. */
        fun heatWord(status: Int): String = HEAT.getOrElse(status) { "unknown" }

        private const val BYTES_OF_GB = 1e9
    }
}
