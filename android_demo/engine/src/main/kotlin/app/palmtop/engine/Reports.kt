package app.palmtop.engine

import app.palmtop.core.Answer
import app.palmtop.core.Statistics

/** An answer, and what it took. */
public class TimedAnswer(
    public val answer: Answer,
    /** Tokens that the model read, special ones in. */
    public val tokens: Int,
    /** Milliseconds from text to token ids. */
    public val tokenizationMs: Double,
    /** Milliseconds from token ids to the model's outputs, feeding in. */
    public val inferenceMs: Double,
    /** Of two models whether the first's answer stands; null of one model. */
    public val byFirst: Boolean? = null,
)

/** How the golden answers were met. */
public class GoldenReport(
    /** Golden texts asked. */
    public val texts: Int,
    /** How many of them got other token ids than recorded. */
    public val otherTokens: Int,
    /** Largest difference of an output, as a share of the outputs' spread. */
    public val difference: Double,
    /** Root mean square of the differences, as a share of the spread. */
    public val typical: Double,
    /** Share of texts with the same first answer. */
    public val agreement: Double,
    /** What is wrong, in English, for a log or a bug report; null where all is as recorded. */
    public val fault: String?,
) {
    /** Whether the model may answer. */
    public val passed: Boolean get() = fault == null
}

/** The model may not answer: its golden answers differ here, or weren't checked. */
public class NotTrusted(
    message: String,
) : IllegalStateException(message)

/** What one length took in a benchmark; milliseconds. */
public class LengthTimes(
    /** Tokens that were fed. */
    public val length: Int,
    public val inference: Statistics,
)

/** What a benchmark found; milliseconds. */
public class BenchmarkResult(
    public val threads: Int,
    public val warmUp: Int,
    public val lengths: List<LengthTimes>,
    /** Of the golden texts, one after the other, from text to token ids. */
    public val tokenization: Statistics,
)
