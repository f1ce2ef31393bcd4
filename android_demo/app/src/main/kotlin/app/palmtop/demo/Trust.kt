package app.palmtop.demo

import android.content.Context
import app.palmtop.engine.GoldenReport
import app.palmtop.engine.TextModel

/**
 * Which models have answered their golden texts on this device.
 *
 * A runtime can open a file and answer rubbish without a word, so each model is asked once after the app was installed or updated
 * (an update may bring another runtime, or another model), and answers nothing where it differs.
 */
class Trust(
    context: Context,
) {
    private val kept = context.getSharedPreferences("trust", Context.MODE_PRIVATE)
    private val installed =
        context.packageManager
            .getPackageInfo(context.packageName, 0)
            .lastUpdateTime

    /** Whether the model passed on this device in this installation. */
    fun holds(model: TextModel): Boolean = kept.getLong(model.manifest.digest, NEVER) == installed

    /**
     * Check the files and the golden answers, unless that was done; afterwards [TextModel.trusted] says whether it answers.
     *
     * @param checking called before the long check, not at all where none is needed.
     * @return what was found, null where none was needed.
     * @throws app.palmtop.core.DamagedModel a file isn't the one that the manifest states.
     */
    fun establish(
        model: TextModel,
        checking: () -> Unit,
    ): GoldenReport? {
        if (holds(model)) {
            model.trust(model.manifest.digest)
            return null
        }
        checking()
        model.checkFiles()
        return model.checkGolden().also { report ->
            if (report.passed) kept.edit().putLong(model.manifest.digest, installed).apply()
        }
    }

    private companion object {
        const val NEVER = -1L
    }
}
