package app.palmtop.demo

import android.content.res.AssetManager
import app.palmtop.core.Manifest
import app.palmtop.engine.ModelFiles
import java.io.FileInputStream
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.channels.FileChannel

/** The models that lie in the app's assets: a folder each, as `palmtop to_app` wrote it. */
class BundledModels(
    private val assets: AssetManager,
) {
    /** The folders' names, in alphabetical order. */
    fun names(): List<String> = assets.list(FOLDER).orEmpty().filter { Manifest.FILE in assets.list("$FOLDER/$it").orEmpty() }

    /** The files of one of them. */
    fun files(name: String): ModelFiles = AssetFiles(assets, "$FOLDER/$name")

    private companion object {
        const val FOLDER = "models"
    }
}

/** A folder in the APK. */
private class AssetFiles(
    private val assets: AssetManager,
    private val folder: String,
) : ModelFiles {
    override fun open(name: String): InputStream = assets.open("$folder/$name")

    /** Mapped as it lies in the APK, without a copy; that is why .tflite isn't compressed there. */
    override fun map(name: String): ByteBuffer =
        assets.openFd("$folder/$name").use { found ->
            FileInputStream(found.fileDescriptor).use { file ->
                file.channel.map(FileChannel.MapMode.READ_ONLY, found.startOffset, found.declaredLength)
            }
        }
}
