package app.palmtop.core

import kotlin.math.exp

/** Stands for the logits of what is no token of the context. */
internal const val OUTSIDE: Float = -1e4f

/** Longest answer in tokens, as in BERT's run_squad.py (Devlin et al. 2018). */
private const val MOST_TOKENS = 30

/** First and last token of the span with the largest sum of start and end logit; the shortest, then the first, of equal ones. */
internal fun bestSpan(
    starts: FloatArray,
    ends: FloatArray,
): Pair<Int, Int> {
    var best = Float.NEGATIVE_INFINITY
    var found = 0 to 0
    for (more in 0 until minOf(MOST_TOKENS, ends.size)) {
        for (first in 0 until starts.size - more) {
            val sum = starts[first] + ends[first + more]
            if (sum > best) {
                best = sum
                found = first to first + more
            }
        }
    }
    return found
}

/**
 * The probability of the best span among all that [bestSpan] looks at, and [nothing], the sum of no answer, where there
 * may be none: the softmax of the sums. That of no answer where it isn't [answered].
 */
internal fun spanScore(
    starts: FloatArray,
    ends: FloatArray,
    nothing: Float?,
    answered: Boolean = true,
): Double {
    val sums =
        (0 until minOf(MOST_TOKENS, ends.size)).flatMap { more ->
            (0 until starts.size - more).map { starts[it].toDouble() + ends[it + more].toDouble() }
        }
    val chosen = if (answered) sums.max() else requireNotNull(nothing).toDouble()
    return 1 / (sums + listOfNotNull(nothing?.toDouble())).sumOf { exp(it - chosen) }
}

/** [begin] to [end] of a context without the spaces around it. */
internal fun trimmed(
    context: String,
    begin: Int,
    end: Int,
): Place {
    var from = begin
    var to = end
    while (from < to && isSpace(context, from)) from++
    while (to > from && isSpace(context, to - 1)) to--
    return Place(from, to)
}
