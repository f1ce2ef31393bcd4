package app.palmtop.engine

import app.palmtop.core.DamagedModel
import app.palmtop.core.Encoded
import app.palmtop.core.Reader
import app.palmtop.core.Signature
import org.tensorflow.lite.Interpreter
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** LiteRT's interpreter, fed by name: every length in one graph that is resized, or in a graph of its own. */
internal class Runtime(
    model: ByteBuffer,
    private val signature: Signature,
    private val reader: Reader,
    threads: Int,
) : AutoCloseable {
    private val interpreter = Interpreter(model, Interpreter.Options().setNumThreads(threads))
    private val several = (signature.lengths?.size ?: 0) > 1
    private val inputs = HashMap<String, List<Pair<String, String>>>()

    /** What the graph gives for [encoded], padded to the length that the file takes, output by output. */
    fun run(encoded: Encoded): List<FloatArray> {
        val length = signature.lengthFor(encoded.size)
        val graph = if (several) "length_$length" else "serving_default"
        val feeds = inputs.getOrPut(graph) { inputsOf(graph) }.associate { (name, tensor) -> tensor to fed(name, encoded, length) }
        val names = outputsOf(graph)
        val buffers = names.associateWith { floats(reader.numbers(length)) }
        interpreter.runSignature(feeds, buffers, graph)
        return names.map { read(buffers.getValue(it)) }
    }

    override fun close(): Unit = interpreter.close()

    /** Rows of one: LiteRT resizes an input to the shape of the array that it is given. */
    private fun fed(
        name: String,
        encoded: Encoded,
        length: Int,
    ): Array<IntArray> =
        arrayOf(
            IntArray(length) { place ->
                when {
                    place >= encoded.size -> if (name == "input_ids") signature.padId else 0
                    name == "input_ids" -> encoded.ids[place]
                    name == "attention_mask" -> 1
                    else -> encoded.typeIds[place]
                }
            },
        )

    /** The model's inputs by their names, and what the graph calls each; litert-torch numbers them. */
    private fun inputsOf(graph: String): List<Pair<String, String>> {
        if (graph !in interpreter.signatureKeys) {
            throw DamagedModel("the model has no graph '$graph' (it has: ${interpreter.signatureKeys.joinToString()})")
        }
        val known = interpreter.getSignatureInputs(graph).toSet()
        val named = signature.inputs.map { it to it }
        val numbered = signature.inputs.mapIndexed { place, name -> name to "args_$place" }
        return listOf(named, numbered).find { pairs -> pairs.map { it.second }.toSet() == known }
            ?: throw DamagedModel("the model takes ${known.joinToString()}, ${Signature.FILE} says ${signature.inputs.joinToString()}")
    }

    private fun outputsOf(graph: String): List<String> {
        val known = interpreter.getSignatureOutputs(graph).toList()
        val wanted = reader.outputNames.ifEmpty { known }
        if (wanted.toSet() != known.toSet()) {
            throw DamagedModel("the model gives ${known.joinToString()}, where ${wanted.joinToString()} are wanted")
        }
        return wanted
    }

    private fun floats(count: Int): ByteBuffer = ByteBuffer.allocateDirect(FLOAT_BYTES * count).order(ByteOrder.nativeOrder())

    private fun read(buffer: ByteBuffer): FloatArray {
        buffer.rewind()
        return FloatArray(buffer.remaining() / FLOAT_BYTES).also { buffer.asFloatBuffer().get(it) }
    }

    private companion object {
        const val FLOAT_BYTES = 4
    }
}
