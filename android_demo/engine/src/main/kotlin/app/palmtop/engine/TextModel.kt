package app.palmtop.engine

import app.palmtop.core.Answer
import app.palmtop.core.Manifest
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
public class NotTrusted(message: String) : IllegalStateException(message)

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

/**
 * A text model of an app's folder in LiteRT: opens it, checks it, answers.
 *
 * Calls take turns, whatever thread they come from; keep them off the main thread. After [close] nothing answers.
 * It answers only when [checkGolden] passed here, or [trust] was told that it had before.
 *
 * @throws app.palmtop.core.DamagedModel the folder isn't what its manifest says.
 * @throws app.palmtop.core.UnknownTokenizer its tokenizer.json asks for what isn't known.
 */
public class TextModel(
    files: ModelFiles,
    /** Threads of the runtime. */
    public val threads: Int = 1,
) : AutoCloseable {
    /** What the folder says of itself. */
    public val manifest: Manifest = TODO("next commit: $files")

    /** Names of the outputs, in their order. */
    public val labels: List<String> = TODO()

    /** Longest text in tokens that the model reads. */
    public val maxLength: Int = TODO()

    /**
     * Read every file and compare it with the manifest's sha256. Takes as long as reading the model.
     *
     * @throws app.palmtop.core.DamagedModel the first that differs, by name.
     */
    public fun checkFiles(): Unit = TODO()

    /** Ask the golden texts, and compare with what was recorded. Do it once for each model and each version of the app. */
    public fun checkGolden(): GoldenReport = TODO()

    /** Skip [checkGolden]: it passed on this device before, for this very manifest ([Manifest.digest]) and this runtime. */
    public fun trust(digest: String): Unit = TODO(digest)

    /** Whether it answers. */
    public val trusted: Boolean get() = TODO()

    /**
     * The answer to a text, or to a pair; to a question ([text]) on its context ([pair]).
     *
     * @throws NotTrusted [checkGolden] failed, or never ran.
     * @throws IllegalArgumentException one text where the model reads two, or the other way round.
     */
    public fun answer(
        text: String,
        pair: String? = null,
    ): TimedAnswer = TODO(text + pair)

    /**
     * Time the model at some lengths.
     *
     * @param lengths in tokens; those the file hasn't are taken at the next it has.
     * @param warmUp calls at each length that aren't counted.
     * @param runs calls at each length that are; at least 50 for a p99 that says something.
     * @param progress told after each length how many are done; answers whether to go on.
     */
    public fun benchmark(
        lengths: List<Int>,
        warmUp: Int = 10,
        runs: Int = 100,
        progress: (Int) -> Boolean = { true },
    ): BenchmarkResult = TODO("$lengths $warmUp $runs $progress")

    override fun close(): Unit = TODO()
}
