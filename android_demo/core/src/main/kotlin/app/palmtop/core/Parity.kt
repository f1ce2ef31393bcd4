package app.palmtop.core

import kotlin.math.abs
import kotlin.math.ln
import kotlin.math.ln1p
import kotlin.math.max
import kotlin.math.sqrt

/** How far outputs are from those that were recorded, as `palmtop verify` has it. */
public class Parity(
    /** Largest difference, as a share of the outputs' spread. */
    public val difference: Double,
    /** Root mean square of the differences, as a share of the spread. */
    public val typical: Double,
    /** Share of texts with the same first answer. */
    public val agreement: Double,
) {
    /** Whether it is within [tolerance]; a NaN never is. */
    public fun within(tolerance: Tolerance): Boolean =
        difference <= tolerance.difference && typical <= tolerance.typical && agreement >= tolerance.agreement

    public companion object {
        /**
         * Of texts' outputs, as [Reader.kept] gives them.
         *
         * @param output what the signature says of both.
         */
        public fun of(
            expected: List<FloatArray>,
            found: List<FloatArray>,
            kind: Kind,
            output: String,
            labels: Int,
        ): Parity =
            when (kind) {
                Kind.QUESTION_ANSWERING -> ofSpans(expected, found)
                Kind.TOKEN_CLASSIFICATION -> ofTags(expected, found, labels)
                else -> plain(expected, found, agreement(kind, expected, found)) { comparable(it, kind, output) }
            }

        /** What numbers are compared as: probabilities as their logarithms, or as the logits behind them. */
        private fun comparable(
            value: Float,
            kind: Kind,
            output: String,
        ): Double {
            val wide = value.toDouble()
            return when {
                kind == Kind.MULTI_LABEL -> limited(ln(wide) - ln1p(-wide))
                kind == Kind.CLASSIFICATION && output != "logits" -> if (wide.isNaN()) wide else ln(max(wide, LEAST_PROBABILITY))
                else -> wide
            }
        }

        private fun limited(logit: Double) = if (logit.isNaN()) logit else logit.coerceIn(-LARGEST_LOGIT, LARGEST_LOGIT)

        private fun agreement(
            kind: Kind,
            expected: List<FloatArray>,
            found: List<FloatArray>,
        ): Double =
            share(expected.indices) { row ->
                when (kind) {
                    Kind.REGRESSION -> true
                    Kind.MULTI_LABEL -> expected[row].indices.all { (expected[row][it] >= HALF) == (found[row][it] >= HALF) }
                    else -> largest(expected[row].asList()) == largest(found[row].asList())
                }
            }

        private fun plain(
            expected: List<FloatArray>,
            found: List<FloatArray>,
            agreement: Double,
            made: (Float) -> Double,
        ): Parity {
            val given = expected.map { row -> row.map(made) }
            val answered = found.map { row -> row.map(made) }
            val spread = spread(given)
            val distances = given.zip(answered).flatMap { (one, other) -> one.zip(other) { a, b -> abs(a - b) } }
            return Parity(largestOf(distances) / spread, sqrt(distances.map { it * it }.average()) / spread, agreement)
        }

        private fun ofTags(
            expected: List<FloatArray>,
            found: List<FloatArray>,
            labels: Int,
        ): Parity {
            val pairs =
                expected.zip(found).map { (one, other) ->
                    tokens(one, labels).zip(tokens(other, labels)).filter { (a, _) -> a[0] != OUTSIDE }
                }
            val every = pairs.flatten()
            val spread = spread(every.map { (a, _) -> a.map { it.toDouble() } })
            val byText = pairs.map { text -> sqrt(text.sumOf { (a, b) -> squares(a, b) } / max(1, text.size)) }
            val typical = sqrt(every.map { (a, b) -> squares(a, b) }.average())
            val agreement = share(every.indices) { largest(every[it].first) == largest(every[it].second) }
            return Parity(largestOf(byText) / spread, typical / spread, agreement)
        }

        private fun tokens(
            row: FloatArray,
            labels: Int,
        ): List<List<Float>> = row.asList().chunked(labels)

        private fun squares(
            one: List<Float>,
            other: List<Float>,
        ): Double = one.zip(other) { a, b -> (a - b).toDouble().let { it * it } }.average()

        private fun ofSpans(
            expected: List<FloatArray>,
            found: List<FloatArray>,
        ): Parity {
            val pairs = expected.zip(found).map { (one, other) -> one.zip(other.asList()).filter { (a, _) -> a != OUTSIDE } }
            val every = pairs.flatten()
            val spread = deviation(every.map { it.first.toDouble() }).takeIf { it > 0 } ?: 1.0
            val squares = { (a, b): Pair<Float, Float> -> (a - b).toDouble().let { it * it } }
            val byText = pairs.map { text -> sqrt(text.sumOf(squares) / max(1, text.size)) }
            return Parity(
                largestOf(byText) / spread,
                sqrt(every.map(squares).average()) / spread,
                share(expected.indices) { best(expected[it]) == best(found[it]) },
            )
        }

        private fun best(row: FloatArray) = bestSpan(row.copyOfRange(0, row.size / 2), row.copyOfRange(row.size / 2, row.size))

        /** The standard deviation over rows, mean over columns; 1 where there is none. */
        private fun spread(rows: List<List<Double>>): Double =
            rows[0]
                .indices
                .map { column -> deviation(rows.map { it[column] }) }
                .average()
                .takeIf { it > 0 } ?: 1.0

        private fun deviation(values: List<Double>): Double {
            val mean = values.average()
            return sqrt(values.map { (it - mean) * (it - mean) }.average())
        }

        private fun largest(values: List<Float>): Int = values.indices.maxBy { values[it] }

        private fun largestOf(values: List<Double>): Double = if (values.any { it.isNaN() }) Double.NaN else values.max()

        private fun share(
            rows: IntRange,
            holds: (Int) -> Boolean,
        ): Double = rows.count(holds).toDouble() / rows.count()

        private const val LEAST_PROBABILITY = 1e-12
        private const val LARGEST_LOGIT = 30.0
        private const val HALF = 0.5f
    }
}
