package app.palmtop.engine

import java.io.File
import java.io.FileNotFoundException
import java.io.InputStream
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.channels.FileChannel

/** The files of an app's folder as `palmtop to_app` wrote it, wherever they lie: in assets, in a folder. */
public interface ModelFiles {
    /**
     * The file called [name], from its beginning. The caller closes it.
     *
     * @throws FileNotFoundException there is none.
     */
    public fun open(name: String): InputStream

    /** The file called [name] in memory, direct and mapped where that can be: assets have to be stored uncompressed for it. */
    public fun map(name: String): ByteBuffer
}

/** The files in a folder of [files]. */
internal class SubFolder(
    private val files: ModelFiles,
    private val folder: String,
) : ModelFiles {
    override fun open(name: String): InputStream = files.open("$folder/$name")

    override fun map(name: String): ByteBuffer = files.map("$folder/$name")
}

/** The files in a folder. */
public class FolderFiles(
    private val folder: File,
) : ModelFiles {
    override fun open(name: String): InputStream = File(folder, name).inputStream()

    override fun map(name: String): ByteBuffer =
        RandomAccessFile(File(folder, name), "r").use { file ->
            file.channel.map(FileChannel.MapMode.READ_ONLY, 0, file.length())
        }
}
