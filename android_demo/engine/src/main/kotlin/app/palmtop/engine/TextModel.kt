package app.palmtop.engine

import app.palmtop.core.DamagedModel
import app.palmtop.core.Encoded
import app.palmtop.core.GoldenRow
import app.palmtop.core.Manifest
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
    internal val signature: Signature = Signature.fromJson(text(Signature.FILE))

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
        val report = GoldenCheck(manifest, reader, signature.output, labels.size).report(rows, encoded, encoded.map(::outputs))
        trusted = report.passed
        return report
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

    private fun golden(): List<GoldenRow> = GoldenCheck.rows(files, manifest)

    private fun text(name: String): String = files.open(name).use { String(it.readBytes(), Charsets.UTF_8) }

    private companion object {
        const val MODEL = "model.tflite"
    }
}
