package org.tensorflow.lite

import com.sun.jna.Memory
import com.sun.jna.Native
import com.sun.jna.Pointer
import java.nio.ByteBuffer

/**
 * A class of the shape of LiteRT's for Android (com.google.ai.edge.litert), as far as the app calls it, over the same
 * library's C functions on this machine: the app's own files run with it unchanged.
 */
class Interpreter(
    private val content: ByteBuffer,
    options: Options,
) : AutoCloseable {
    class Options {
        internal var threads = 1

        fun setNumThreads(threads: Int): Options = also { it.threads = threads }
    }

    private val environment = LiteRt.made("LiteRtCreateEnvironment", 0, null)
    private val model =
        LiteRt.made("LiteRtCreateModelFromBuffer", environment, Native.getDirectBufferPointer(content), content.remaining().toLong())
    private val settings = LiteRt.options(options.threads)
    private val compiled = LiteRt.made("LiteRtCreateCompiledModel", environment, model, settings)
    private val graphs =
        (0 until LiteRt.count("LiteRtGetNumModelSignatures", model)).map { Graph(it) }.associateBy { it.key }

    val signatureKeys: Array<String> get() = graphs.keys.toTypedArray()

    fun getSignatureInputs(key: String): Array<String> = graphs.getValue(key).inputs.toTypedArray()

    fun getSignatureOutputs(key: String): Array<String> = graphs.getValue(key).outputs.toTypedArray()

    /** Inputs are arrays of int rows, whose shape is taken; outputs are direct buffers, filled from their beginning. */
    fun runSignature(
        inputs: Map<String, Any>,
        outputs: Map<String, Any>,
        key: String,
    ) {
        val graph = graphs.getValue(key)
        require(inputs.keys == graph.inputs.toSet()) { "the graph takes ${graph.inputs}, given are ${inputs.keys}" }
        @Suppress("UNCHECKED_CAST")
        graph.run(graph.inputs.map { inputs.getValue(it) as Array<IntArray> })
        for ((name, buffer) in outputs) graph.read(name, buffer as ByteBuffer)
    }

    override fun close() {
        graphs.values.forEach { it.free() }
        LiteRt.free("LiteRtDestroyCompiledModel", compiled)
        LiteRt.free("LiteRtDestroyOptions", settings)
        LiteRt.free("LiteRtDestroyModel", model)
        LiteRt.free("LiteRtDestroyEnvironment", environment)
    }

    private inner class Graph(
        private val number: Int,
    ) {
        private val signature = LiteRt.made("LiteRtGetModelSignature", model, number.toLong())
        val key: String = LiteRt.text("LiteRtGetSignatureKey", signature)
        val inputs = names("Input")
        val outputs = names("Output")
        private val inputTypes = types("Input", inputs)
        private val outputTypes = types("Output", outputs)
        private var shapes: List<List<Int>> = emptyList()
        private var fed: List<Buffer> = emptyList()
        private var given: List<Buffer> = emptyList()

        fun run(values: List<Array<IntArray>>) {
            val wanted = values.map { listOf(it.size, it[0].size) }
            if (wanted != shapes) resize(wanted)
            fed.zip(values).forEach { (buffer, rows) ->
                buffer.locked(Buffer.WRITE) { memory ->
                    rows.forEachIndexed { at, row -> memory.write(Int.SIZE_BYTES.toLong() * at * row.size, row, 0, row.size) }
                }
            }
            val (ins, outs) = handles(fed) to handles(given)
            LiteRt.call("LiteRtRunCompiledModel", compiled, number.toLong(), ins.size.toLong(), ins, outs.size.toLong(), outs)
        }

        fun read(
            name: String,
            into: ByteBuffer,
        ) {
            val buffer = given[outputs.indexOf(name)]
            // as LiteRT for Android has it: a buffer that is too small is refused, a larger one is filled in part
            require(into.capacity() >= buffer.bytes) { "$name has ${buffer.bytes} bytes, the buffer ${into.capacity()}" }
            into.rewind()
            buffer.locked(Buffer.READ) { memory -> into.put(memory.getByteBuffer(0, buffer.bytes.toLong())) }
        }

        fun free() = (fed + given).forEach { it.close() }

        private fun resize(wanted: List<List<Int>>) {
            free()
            for ((place, shape) in wanted.withIndex()) {
                val sizes = shape.toIntArray()
                if (sizes contentEquals inputTypes[place].shape) continue
                val memory = Memory(Int.SIZE_BYTES.toLong() * sizes.size).also { it.write(0, sizes, 0, sizes.size) }
                LiteRt.call("LiteRtCompiledModelResizeInputTensor", compiled, number.toLong(), place.toLong(), memory, sizes.size.toLong())
            }
            val layouts = Memory(TensorType.LAYOUT_BYTES * outputs.size)
            LiteRt.call("LiteRtGetCompiledModelOutputTensorLayouts", compiled, number.toLong(), outputs.size.toLong(), layouts, true)
            fed = inputTypes.zip(wanted) { type, shape -> Buffer(environment, type.shaped(shape.toIntArray())) }
            given = outputTypes.mapIndexed { place, type -> Buffer(environment, type.shaped(TensorType.shape(layouts, place))) }
            shapes = wanted
        }

        private fun handles(buffers: List<Buffer>): Array<Pointer> = buffers.map { it.handle }.toTypedArray()

        private fun names(side: String): List<String> =
            (0 until LiteRt.count("LiteRtGetNumSignature${side}s", signature)).map {
                LiteRt.text("LiteRtGetSignature${side}Name", signature, it.toLong())
            }

        private fun types(
            side: String,
            names: List<String>,
        ): List<TensorType> =
            names.indices.map { TensorType.of(LiteRt.made("LiteRtGetSignature${side}TensorByIndex", signature, it.toLong())) }
    }
}
