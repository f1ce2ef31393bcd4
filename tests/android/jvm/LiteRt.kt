package org.tensorflow.lite

import com.sun.jna.Memory
import com.sun.jna.NativeLibrary
import com.sun.jna.Pointer
import com.sun.jna.ptr.PointerByReference

/** LiteRT's C functions (2.1.6 and later) in the library that comes with the ai-edge-litert wheel. */
internal object LiteRt {
    private val library = NativeLibrary.getInstance(System.getProperty("litert.library"))
    private val libc = NativeLibrary.getInstance("c")

    /** Call a function that answers with a status. */
    fun call(
        name: String,
        vararg arguments: Any?,
    ) {
        val status = library.getFunction(name).invokeInt(arguments)
        check(status == 0) { "$name: status $status" }
    }

    /** Call a function whose last argument is where it puts a handle. */
    fun made(
        name: String,
        vararg arguments: Any?,
    ): Pointer = PointerByReference().also { call(name, *arguments, it) }.value

    /** Call a function that puts a string there. */
    fun text(
        name: String,
        vararg arguments: Any?,
    ): String = made(name, *arguments).getString(0)

    /** Call a function that puts a count there. */
    fun count(
        name: String,
        vararg arguments: Any?,
    ): Int = Memory(Long.SIZE_BYTES.toLong()).also { call(name, *arguments, it) }.getLong(0).toInt()

    /** Call a function that frees a handle. */
    fun free(
        name: String,
        handle: Pointer,
    ): Unit = library.getFunction(name).invokeVoid(arrayOf(handle))

    /** Options for the processor alone, with a number of threads; XNNPACK's come as TOML. */
    fun options(threads: Int): Pointer {
        val options = made("LiteRtCreateOptions")
        call("LiteRtSetOptionsHardwareAccelerators", options, 1)
        // LiteRT frees what it is given, so it has to be malloc's
        val toml = libc.getFunction("strdup").invokePointer(arrayOf("num_threads = $threads\n"))
        call("LiteRtAddOpaqueOptions", options, made("LiteRtCreateOpaqueOptions", "xnnpack", toml, libc.getFunction("free")))
        return options
    }
}

/** LiteRtRankedTensorType: the element type, and a layout (its rank in the low seven bits, eight sizes, eight strides). */
internal class TensorType private constructor(
    val memory: Memory,
) {
    val shape: IntArray get() = memory.getIntArray(DIMENSIONS, memory.getInt(LAYOUT) and RANK)

    /** The same elements in another [shape] of the same rank. */
    fun shaped(shape: IntArray): TensorType {
        val made = Memory(BYTES)
        made.write(0, memory.getByteArray(0, BYTES.toInt()), 0, BYTES.toInt())
        made.write(DIMENSIONS, shape, 0, shape.size)
        return TensorType(made)
    }

    companion object {
        private const val BYTES = 72L
        private const val LAYOUT = 4L
        private const val DIMENSIONS = 8L
        private const val RANK = 0x7f
        const val LAYOUT_BYTES = 68L

        fun of(tensor: Pointer): TensorType = TensorType(Memory(BYTES).also { LiteRt.call("LiteRtGetRankedTensorType", tensor, it) })

        /** The sizes in a layout that stands alone at [place]. */
        fun shape(
            layouts: Memory,
            place: Int,
        ): IntArray {
            val at = LAYOUT_BYTES * place
            return layouts.getIntArray(at + DIMENSIONS - LAYOUT, layouts.getInt(at) and RANK)
        }
    }
}

/** A tensor's memory in LiteRT. */
internal class Buffer(
    environment: Pointer,
    type: TensorType,
) {
    val bytes = Int.SIZE_BYTES * type.shape.fold(1, Int::times)
    val handle: Pointer = LiteRt.made("LiteRtCreateManagedTensorBuffer", environment, HOST_MEMORY, type.memory, bytes.toLong())

    /** What [use] does with the memory, while it is locked. */
    fun <T> locked(
        mode: Int,
        use: (Pointer) -> T,
    ): T {
        val address = PointerByReference()
        LiteRt.call("LiteRtLockTensorBuffer", handle, address, mode)
        return use(address.value).also { LiteRt.call("LiteRtUnlockTensorBuffer", handle) }
    }

    fun close(): Unit = LiteRt.free("LiteRtDestroyTensorBuffer", handle)

    companion object {
        private const val HOST_MEMORY = 1
        const val READ = 0
        const val WRITE = 1
    }
}
