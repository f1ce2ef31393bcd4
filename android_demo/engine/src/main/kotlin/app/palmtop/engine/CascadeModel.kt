package app.palmtop.engine

import app.palmtop.core.Cascade
import app.palmtop.core.DamagedModel
import app.palmtop.core.Encoded
import app.palmtop.core.Manifest
import app.palmtop.core.Reader
import app.palmtop.core.Signature

/**
 * Two text models of an app's folder in LiteRT: the first is asked every text, the second those of which the first isn't sure.
 *
 * Calls take turns, whatever thread they come from; keep them off the main thread. After [close] nothing answers.
 * It answers only when [checkGolden] passed here, or [trust] was told that it had before.
 *
 * @throws DamagedModel the folder isn't what its manifest says.
 * @throws app.palmtop.core.UnknownTokenizer a tokenizer.json asks for what isn't known.
 */
public class CascadeModel(
    private val files: ModelFiles,
    /** Threads of the runtime. */
    public val threads: Int = 1,
) : AutoCloseable {
    /** What the folder says of itself. */
    public val manifest: Manifest = Manifest.fromJson(files.open(Manifest.FILE).use { it.readBytes() })

    /** Names of the outputs, in their order. */
    public val labels: List<String> = text("labels.txt").removeSuffix("\n").split("\n")
    private val rule: Cascade = Cascade.fromJson(text(Signature.FILE))
    private val first = TextModel(SubFolder(files, rule.first), threads)
    private val second = TextModel(SubFolder(files, rule.second), threads)
    private val reader = Reader(manifest.kind, labels, Signature(emptyList(), OUTPUT, null, first.maxLength, 0, null))

    /** Whether it answers. */
    @Volatile
    public var trusted: Boolean = false
        private set

    /**
     * Read every file of both and compare it with the manifest's sha256. Takes as long as reading the models.
     *
     * @throws DamagedModel the first that differs, by name.
     */
    public fun checkFiles(): Unit = manifest.files.keys.forEach { name -> files.open(name).use { manifest.check(name, it) } }

    /**
     * Ask the golden texts, of each model alone and of both together, and compare with what was recorded.
     *
     * @return what was found of both together; of one model alone where that is at fault.
     * @throws DamagedModel there are none, or fewer than the manifest says.
     */
    @Synchronized
    public fun checkGolden(): GoldenReport {
        trusted = false
        listOf(first, second).forEach { model -> model.checkGolden().let { if (!it.passed) return it } }
        val rows = GoldenCheck.rows(files, manifest)
        val encoded = rows.map { first.encode(it.texts) }
        val outputs = rows.zip(encoded).map { (row, made) -> shared(row.texts, made).outputs }
        val report = GoldenCheck(manifest, reader, OUTPUT, labels.size).report(rows, encoded, outputs)
        trusted = report.passed
        return report
    }

    /** Skip [checkGolden]: it passed on this device before, for this very manifest ([Manifest.digest]) and this runtime. */
    public fun trust(digest: String) {
        require(digest == manifest.digest) { "another model passed: $digest, this one is ${manifest.digest}" }
        trusted = true
    }

    /**
     * The answer to a text, or to a pair.
     *
     * @throws NotTrusted [checkGolden] failed, or never ran.
     * @throws IllegalArgumentException one text where the models read two, or the other way round.
     */
    @Synchronized
    public fun answer(
        text: String,
        pair: String? = null,
    ): TimedAnswer {
        if (!trusted) throw NotTrusted("the models' golden answers differ here, or weren't checked: they don't answer")
        val texts = listOfNotNull(text, pair)
        val started = System.nanoTime()
        val encoded = first.encode(texts)
        val tokenized = milliseconds(started, System.nanoTime())
        val found = shared(texts, encoded)
        val all = milliseconds(started, System.nanoTime())
        return TimedAnswer(
            reader.answer(found.outputs, encoded, text, pair),
            encoded.size,
            tokenized + found.tokenizationMs,
            all - tokenized - found.tokenizationMs,
            found.byFirst,
        )
    }

    @Synchronized
    override fun close() {
        first.close()
        second.close()
    }

    internal fun encode(texts: List<String>): Encoded = first.encode(texts)

    /** Probabilities of every label, as golden.jsonl has them. */
    internal fun outputs(texts: List<String>): FloatArray = shared(texts, first.encode(texts)).outputs

    private class Shared(
        val outputs: FloatArray,
        val byFirst: Boolean,
        /** Milliseconds of the second's tokenizer; 0 where it isn't asked. */
        val tokenizationMs: Double,
    )

    private fun shared(
        texts: List<String>,
        encoded: Encoded,
    ): Shared {
        val calibrated = rule.calibrated(first.outputs(encoded), first.signature.output)
        if (rule.isSure(calibrated)) return Shared(narrowed(calibrated), true, 0.0)
        val started = System.nanoTime()
        val again = second.encode(texts)
        val tokenized = milliseconds(started, System.nanoTime())
        return Shared(narrowed(Cascade.probabilities(second.outputs(again), second.signature.output)), false, tokenized)
    }

    private fun narrowed(shares: DoubleArray) = FloatArray(shares.size) { shares[it].toFloat() }

    private fun text(name: String): String = files.open(name).use { String(it.readBytes(), Charsets.UTF_8) }

    private companion object {
        const val OUTPUT = "probabilities"
    }
}
