package app.palmtop.core

import kotlin.math.exp

/** What a model reads and what its outputs mean, by the kind of its task. */
public class Reader(
    private val kind: Kind,
    /** Names of the outputs, in their order. */
    private val labels: List<String>,
    private val signature: Signature,
) {
    private val spans get() = kind == Kind.QUESTION_ANSWERING

    /** A text, or a pair, as the model takes it. */
    public fun encode(
        tokenizer: Tokenizer,
        text: String,
        pair: String?,
    ): Encoded = if (spans) question(tokenizer, text, requireNotNull(pair)) else tokenizer.encode(text, pair, signature.maxLength)

    /** Only the context is cut, unless the question fills half the length. */
    private fun question(
        tokenizer: Tokenizer,
        question: String,
        context: String,
    ): Encoded {
        val most = minOf(MOST_OF_QUESTION, signature.maxLength / 2)
        val tokens = tokenizer.tokens(question)
        val cut = if (tokens.size > most) question.substring(0, tokens.ends[most - 1]) else question
        val made = tokenizer.encode(cut, context, signature.maxLength, Truncation.ONLY_SECOND)
        val truncated = made.truncated || cut.length < question.length
        return Encoded(made.ids, made.typeIds, made.begins, made.ends, made.sequences, truncated)
    }

    /** Names of the model's outputs, where it has several. */
    public val outputNames: List<String> get() = if (spans) listOf("start_logits", "end_logits") else emptyList()

    /** How many numbers each output has at a padded [length]. */
    public fun numbers(length: Int): Int =
        when (kind) {
            Kind.QUESTION_ANSWERING -> length
            Kind.TOKEN_CLASSIFICATION -> length * labels.size
            else -> labels.size
        }

    /**
     * What is kept of a padded run, as golden.jsonl has it: an output for each label; of tags those of each token; of
     * spans the start logit of each token, then the end logits. What belongs to no token of the text is [OUTSIDE], but
     * for the token that stands for no answer.
     */
    public fun kept(
        outputs: List<FloatArray>,
        encoded: Encoded,
    ): FloatArray =
        when (kind) {
            Kind.QUESTION_ANSWERING -> outputs.flatMap { row -> ofContext(row, encoded) }.toFloatArray()
            Kind.TOKEN_CLASSIFICATION -> inside(outputs[0], labels.size, encoded) { it != Encoded.SPECIAL }.toFloatArray()
            else -> outputs[0]
        }

    private fun ofContext(
        row: FloatArray,
        encoded: Encoded,
    ): List<Float> {
        val nowhere = nowhere(encoded)
        return List(encoded.size) { if (encoded.sequences[it] == 1 || it == nowhere) row[it] else OUTSIDE }
    }

    /** The token that stands for no answer: [CLS], the first, or XLNet's last; null where none does. */
    private fun nowhere(encoded: Encoded): Int? =
        when {
            signature.nullThreshold == null -> null
            encoded.sequences[0] == Encoded.SPECIAL -> 0
            else -> encoded.size - 1
        }

    private fun inside(
        row: FloatArray,
        each: Int,
        encoded: Encoded,
        isInside: (Int) -> Boolean,
    ): List<Float> = List(encoded.size * each) { if (isInside(encoded.sequences[it / each])) row[it] else OUTSIDE }

    /** What [kept] outputs say of a text. */
    public fun answer(
        kept: FloatArray,
        encoded: Encoded,
        text: String,
        pair: String?,
    ): Answer =
        when (kind) {
            Kind.CLASSIFICATION -> ranked(kept, shares(kept), encoded.truncated) { rank, _ -> rank == 0 }
            Kind.MULTI_LABEL -> several(kept, encoded.truncated)
            Kind.REGRESSION -> Answer.Number(kept[0].toDouble(), encoded.truncated)
            Kind.TOKEN_CLASSIFICATION -> tags(kept, encoded, text)
            Kind.QUESTION_ANSWERING -> span(kept, encoded, requireNotNull(pair))
        }

    /** The same in one string, as golden.jsonl has it; null of a number. */
    public fun said(
        kept: FloatArray,
        encoded: Encoded,
        text: String,
        pair: String?,
    ): String? =
        when (kind) {
            Kind.CLASSIFICATION, Kind.MULTI_LABEL -> labels[largest(kept, 0, labels.size)]
            Kind.REGRESSION -> null
            Kind.TOKEN_CLASSIFICATION -> tagged(kept, encoded, text).joinToString(" ") { it.second }
            Kind.QUESTION_ANSWERING -> span(kept, encoded, requireNotNull(pair)).text
        }

    private fun several(
        kept: FloatArray,
        truncated: Boolean,
    ): Answer.Labels {
        val shares = if (signature.output == "logits") kept.map(::sigmoid) else kept.toList()
        val thresholds = signature.thresholds ?: labels.map { HALF }
        return ranked(kept, shares.map { it.toDouble() }, truncated) { _, place -> shares[place] >= thresholds[place].toFloat() }
    }

    private fun ranked(
        kept: FloatArray,
        shares: List<Double>,
        truncated: Boolean,
        given: (Int, Int) -> Boolean,
    ): Answer.Labels {
        val order = labels.indices.sortedByDescending { kept[it] }
        val ranked = order.mapIndexed { rank, place -> Label(labels[place], shares[place], given(rank, place)) }
        return Answer.Labels(ranked, kind == Kind.MULTI_LABEL, truncated)
    }

    /** Softmax of logits; of probabilities the file's own numbers. */
    private fun shares(kept: FloatArray): List<Double> {
        if (signature.output == "probabilities") return kept.map { it.toDouble() }
        val most = kept.max().toDouble()
        val powers = kept.map { exp(it - most) }
        val sum = powers.sum()
        return powers.map { it / sum }
    }

    private fun tags(
        kept: FloatArray,
        encoded: Encoded,
        text: String,
    ): Answer.Tags {
        val words = tagged(kept, encoded, text)
        val found =
            entities(words.map { it.second }).map { marked ->
                val begin = words[marked.first].first.begin
                val end = words[marked.last].first.end
                Entity(marked.label, text.substring(begin, end), begin, end)
            }
        return Answer.Tags(found, encoded.truncated)
    }

    /** Each word, and its tag: that of its first token. */
    private fun tagged(
        kept: FloatArray,
        encoded: Encoded,
        text: String,
    ): List<Pair<Place, String>> {
        val words = wordsOf(text)
        return words.zip(firstTokens(placesOf(encoded, text), words)).map { (word, token) ->
            word to if (token == null) NO_ENTITY else labels[largest(kept, token * labels.size, labels.size)]
        }
    }

    private fun span(
        kept: FloatArray,
        encoded: Encoded,
        context: String,
    ): Answer.Span {
        val starts = kept.copyOfRange(0, encoded.size)
        val ends = kept.copyOfRange(encoded.size, kept.size)
        val nothing = nowhere(encoded)?.let { starts[it] + ends[it] }
        nowhere(encoded)?.let { starts[it] = OUTSIDE }
        nowhere(encoded)?.let { ends[it] = OUTSIDE }
        val (first, last) = bestSpan(starts, ends)
        if (nothing != null && nothing - (starts[first] + ends[last]) > requireNotNull(signature.nullThreshold).toFloat()) {
            return Answer.Span("", 0, 0, spanScore(starts, ends, nothing, answered = false), encoded.truncated)
        }
        val begin = if (encoded.sequences[first] == 1) encoded.begins[first] else 0
        val end = if (encoded.sequences[last] == 1) encoded.ends[last] else 0
        val place = trimmed(context, begin, maxOf(begin, end))
        val words = context.substring(place.begin, place.end)
        return Answer.Span(words, place.begin, place.end, spanScore(starts, ends, nothing), encoded.truncated)
    }

    private fun largest(
        values: FloatArray,
        from: Int,
        count: Int,
    ): Int = (0 until count).maxBy { values[from + it] }

    public companion object {
        /** Tokens after which a question is cut, as in BERT's run_squad.py. */
        private const val MOST_OF_QUESTION = 64
        private const val HALF = 0.5

        private fun sigmoid(logit: Float): Float = (1 / (1 + exp(-logit.toDouble()))).toFloat()
    }
}
