package app.palmtop.engine

import app.palmtop.core.Encoded
import app.palmtop.core.Statistics

/** Times a model call by call, after calls that aren't counted. */
internal class Benchmark(
    private val warmUp: Int,
    private val runs: Int,
) {
    init {
        require(warmUp >= 0 && runs > 0) { "$warmUp calls to warm up and $runs to count" }
    }

    /**
     * @param encode the token ids of the text of a number.
     * @param infer runs the model; what it answers is left alone.
     */
    fun run(
        lengths: List<Int>,
        threads: Int,
        encode: (Int) -> Encoded,
        infer: (Encoded) -> Any,
        progress: (Int) -> Boolean,
    ): BenchmarkResult {
        val tokenization = times { encode(it) }
        val sample = encode(0)
        val found = ArrayList<LengthTimes>()
        for (length in lengths) {
            val fed = sample.repeatedTo(length)
            found += LengthTimes(length, times { infer(fed) })
            if (!progress(found.size)) break
        }
        return BenchmarkResult(threads, warmUp, found, tokenization)
    }

    private inline fun times(call: (Int) -> Any): Statistics {
        for (number in 0 until warmUp) call(number)
        return Statistics.of(
            DoubleArray(runs) { number ->
                val started = System.nanoTime()
                call(number)
                milliseconds(started, System.nanoTime())
            },
        )
    }
}

internal fun milliseconds(
    begin: Long,
    end: Long,
): Double = (end - begin) / 1e6

/** Tokens over and over up to a [length]: how long a model takes is a matter of how many they are. */
private fun Encoded.repeatedTo(length: Int): Encoded {
    val places = IntArray(length) { it % size }

    fun of(row: IntArray) = IntArray(length) { row[places[it]] }
    return Encoded(of(ids), of(typeIds), of(begins), of(ends), of(sequences), false)
}
