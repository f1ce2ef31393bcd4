package app.palmtop.engine

import app.palmtop.core.DamagedModel
import app.palmtop.core.Encoded
import app.palmtop.core.GoldenRow
import app.palmtop.core.Manifest
import app.palmtop.core.Parity
import app.palmtop.core.Reader
import app.palmtop.core.Signature
import app.palmtop.core.Tokenizer
import app.palmtop.core.Tokenizers

/**
 * A text model of an app's folder in LiteRT: opens it, checks it, answers.
 *
 * Calls take turns, whatever thread they come from; keep them off the main thread. After [close] nothing answers.
 * It answers only when [checkGolden] passed here, or [trust] was told that it had before.
 *
 * @throws DamagedModel the folder isn't what its manifest says.
 * @throws app.palmtop.core.UnknownTokenizer its tokenizer.json asks for what isn't known.
 */
public class TextModel(
    private val files: ModelFiles,
    /** Threads of the runtime. */
    public val threads: Int = 1,
) : AutoCloseable {
    /** What the folder says of itself. */
    public val manifest: Manifest = Manifest.fromJson(files.open(Manifest.FILE).use { it.readBytes() })

    /** Names of the outputs, in their order. */
    public val labels: List<String> = text("labels.txt").removeSuffix("\n").split("\n")
    private val signature = Signature.fromJson(text(Signature.FILE))

    /** Longest text in tokens that the model reads. */
    public val maxLength: Int = signature.maxLength
    private val tokenizer: Tokenizer = Tokenizers.fromJson(text("tokenizer.json"))
    private val reader = Reader(manifest.kind, labels, signature)
    private var runtime: Runtime? = Runtime(files.map(MODEL), signature, reader, threads)

    /** Whether it answers. */
    @Volatile
    public var trusted: Boolean = false
        private set

    /**
     * Read every file and compare it with the manifest's sha256. Takes as long as reading the model.
     *
     * @throws DamagedModel the first that differs, by name.
     */
    public fun checkFiles(): Unit = manifest.files.keys.forEach { name -> files.open(name).use { manifest.check(name, it) } }

    /**
     * Ask the golden texts, and compare with what was recorded. Do it once for each model and each version of the app.
     *
     * @throws DamagedModel there are none, or fewer than the manifest says.
     */
    @Synchronized
    public fun checkGolden(): GoldenReport {
        trusted = false
        val rows = golden()
        val encoded = rows.map { encode(it.texts) }
        val outputs = encoded.map(::outputs)
        val other =
            rows.zip(encoded).count { (row, made) -> !(row.ids contentEquals made.ids && row.typeIds contentEquals made.typeIds) }
        val parity = parity(rows, outputs)
        val report =
            GoldenReport(
                rows.size,
                other,
                parity.difference,
                parity.typical,
                parity.agreement,
                fault(rows, other, parity) ?: wrongWords(rows, encoded),
            )
        trusted = report.passed
        return report
    }

    private fun parity(
        rows: List<GoldenRow>,
        outputs: List<FloatArray>,
    ): Parity {
        val comparable = rows.indices.all { rows[it].outputs.size == outputs[it].size }
        return if (comparable) {
            Parity.of(rows.map { it.outputs }, outputs, manifest.kind, signature.output, labels.size)
        } else {
            Parity(Double.NaN, Double.NaN, 0.0)
        }
    }

    private fun fault(
        rows: List<GoldenRow>,
        other: Int,
        parity: Parity,
    ): String? =
        when {
            other > 0 -> {
                "the tokenizer gives other ids than recorded for $other of ${rows.size} golden texts"
            }

            !parity.within(manifest.tolerance) -> {
                "the model answers otherwise than recorded: its outputs differ by ${parity.difference} of their spread " +
                    "(${manifest.tolerance.difference} is allowed), ${parity.agreement} of ${rows.size} answers agree " +
                    "(at least ${manifest.tolerance.agreement})"
            }

            else -> {
                null
            }
        }

    /** Whether labels, words and spans are made of the recorded outputs as they were: it is found out by wrong labels.txt. */
    private fun wrongWords(
        rows: List<GoldenRow>,
        encoded: List<Encoded>,
    ): String? {
        val wrong =
            rows.zip(encoded).count { (row, made) ->
                reader.said(row.outputs, made, row.texts[0], row.texts.getOrNull(1)) != row.answer
            }
        return if (wrong > 0) "$wrong of ${rows.size} golden answers are told in other words than recorded" else null
    }

    /** Skip [checkGolden]: it passed on this device before, for this very manifest ([Manifest.digest]) and this runtime. */
    public fun trust(digest: String) {
        require(digest == manifest.digest) { "another model passed: $digest, this one is ${manifest.digest}" }
        trusted = true
    }

    /**
     * The answer to a text, or to a pair; to a question ([text]) on its context ([pair]).
     *
     * @throws NotTrusted [checkGolden] failed, or never ran.
     * @throws IllegalArgumentException one text where the model reads two, or the other way round.
     */
    @Synchronized
    public fun answer(
        text: String,
        pair: String? = null,
    ): TimedAnswer {
        if (!trusted) throw NotTrusted("the model's golden answers differ here, or weren't checked: it doesn't answer")
        val started = System.nanoTime()
        val encoded = encode(listOfNotNull(text, pair))
        val tokenized = System.nanoTime()
        val outputs = outputs(encoded)
        val ended = System.nanoTime()
        return TimedAnswer(
            reader.answer(outputs, encoded, text, pair),
            encoded.size,
            milliseconds(started, tokenized),
            milliseconds(tokenized, ended),
        )
    }

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
    ): BenchmarkResult {
        if (!trusted) throw NotTrusted("the model's golden answers differ here, or weren't checked: it isn't timed")
        val texts = golden().map { it.texts }
        return Benchmark(warmUp, runs).run(
            lengths.map { minOf(it, maxLength) }.map(signature::lengthFor).distinct(),
            threads,
            { at -> encode(texts[at % texts.size]) },
            { encoded -> synchronized(this) { outputs(encoded) } },
            progress,
        )
    }

    @Synchronized
    override fun close() {
        runtime?.close()
        runtime = null
    }

    internal fun encode(texts: List<String>): Encoded {
        require(texts.size == manifest.texts) { "the model reads ${manifest.texts} texts at a time, not ${texts.size}" }
        return reader.encode(tokenizer, texts[0], texts.getOrNull(1))
    }

    internal fun outputs(encoded: Encoded): FloatArray {
        val open = checkNotNull(runtime) { "the model was closed" }
        return reader.kept(open.run(encoded), encoded)
    }

    private fun golden(): List<GoldenRow> {
        val rows = files.open(GoldenRow.FILE).bufferedReader().useLines(GoldenRow::fromLines)
        val least = maxOf(1, manifest.goldenTexts ?: 1)
        if (rows.size < least) throw DamagedModel("${GoldenRow.FILE} has ${rows.size} answers, and should have $least")
        return rows
    }

    private fun text(name: String): String = files.open(name).use { String(it.readBytes(), Charsets.UTF_8) }

    private companion object {
        const val MODEL = "model.tflite"
    }
}
