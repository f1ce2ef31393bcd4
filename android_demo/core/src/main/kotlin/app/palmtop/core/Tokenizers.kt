package app.palmtop.core

import org.json.JSONException
import org.json.JSONObject

/** Tokenizers from Hugging Face's tokenizer.json: WordPiece, byte-level BPE and Unigram. */
public object Tokenizers {
    /**
     * The tokenizer that a tokenizer.json describes.
     *
     * Its own truncation and padding don't count: palmtop cuts at the model's length and pads nothing.
     *
     * @throws UnknownTokenizer it asks for what isn't known here, by name; nothing is left out in silence.
     */
    public fun fromJson(json: String): Tokenizer =
        try {
            read(JSONObject(json))
        } catch (error: JSONException) {
            throw UnknownTokenizer("tokenizer.json is damaged: ${error.message}")
        }

    private fun read(json: JSONObject): Tokenizer {
        val normalizer = Normalizers.of(json.optJSONObject("normalizer"))
        val added = json.optJSONArray("added_tokens")
        val (before, after) = AddedTokens.of(added, normalizer)
        return PipelineTokenizer(
            before,
            normalizer,
            after,
            PreTokenizers.of(json.optJSONObject("pre_tokenizer")),
            Models.of(json.getJSONObject("model")),
            PostProcessors.of(json.optJSONObject("post_processor"), lazy { vocabulary(json) }),
        )
    }

    /** Every token's name by its id, for what looks at names. */
    private fun vocabulary(json: JSONObject): Vocabulary {
        val tokens = json.getJSONObject("model").optJSONObject("vocab")
        val known = tokens?.keySequence()?.associateWith(tokens::getInt).orEmpty()
        val added = json.optJSONArray("added_tokens")?.objects().orEmpty()
        return Vocabulary(known + added.associate { it.getString("content") to it.getInt("id") })
    }
}

/** The steps of Hugging Face's tokenizers, one after the other. */
internal class PipelineTokenizer(
    private val asWritten: AddedTokens,
    private val normalizer: Normalizer,
    private val asNormalized: AddedTokens,
    private val preTokenizer: PreTokenizer,
    private val model: TokenModel,
    private val postProcessor: PostProcessor,
) : Tokenizer {
    override fun encode(
        text: String,
        pair: String?,
        maxLength: Int,
        truncation: Truncation,
    ): Encoded {
        val first = sought(text)
        val second = pair?.let(::sought)
        val room = maxOf(0, maxLength - postProcessor.added(second != null))
        val (a, b) = kept(first.size, second?.size, room, truncation)
        val placed =
            postProcessor.assembled(
                postProcessor.trimmed(first.take(a), text),
                pair?.let { postProcessor.trimmed(second.orEmpty().take(b), it) },
            )
        return encoded(placed, a + b < first.size + (second?.size ?: 0))
    }

    override fun tokens(text: String): Encoded = encoded(postProcessor.trimmed(sought(text), text).map { Placed(it, 0, 0) }, false)

    private fun sought(text: String): List<Token> {
        val found = TokenList()
        for (part in asWritten.split(Piece.of(text))) {
            if (part.id != null) {
                found.addWritten(part.id, part.piece)
                continue
            }
            for (inner in asNormalized.split(normalizer.normalized(part.piece))) {
                if (inner.id != null) found.addWritten(inner.id, inner.piece) else tokenize(inner.piece, found)
            }
        }
        return found.tokens
    }

    private fun tokenize(
        piece: Piece,
        found: TokenList,
    ) {
        if (piece.size == 0) return
        for (word in preTokenizer.split(piece)) if (word.size > 0) model.tokenize(word, found)
    }

    private fun encoded(
        placed: List<Placed>,
        truncated: Boolean,
    ) = Encoded(
        IntArray(placed.size) { placed[it].token.id },
        IntArray(placed.size) { placed[it].type },
        IntArray(placed.size) { placed[it].token.begin },
        IntArray(placed.size) { placed[it].token.end },
        IntArray(placed.size) { placed[it].sequence },
        truncated,
    )
}

/** How many tokens of each text are kept in a [room] for both, special tokens apart, as Hugging Face's tokenizers do it. */
private fun kept(
    first: Int,
    second: Int?,
    room: Int,
    truncation: Truncation,
): Pair<Int, Int> {
    val excess = first + (second ?: 0) - room
    return when {
        excess <= 0 -> {
            first to (second ?: 0)
        }

        truncation == Truncation.ONLY_SECOND -> {
            require(second != null && second > excess) { "the first text alone is too long: $first tokens of $room" }
            first to second - excess
        }

        second == null -> {
            room to 0
        }

        else -> {
            longestFirst(first, second, room)
        }
    }
}

private fun longestFirst(
    first: Int,
    second: Int,
    room: Int,
): Pair<Int, Int> {
    val shorter = minOf(first, second)
    val longer = if (shorter > room) shorter else maxOf(shorter, room - shorter)
    val (small, large) = if (shorter + longer > room) room / 2 to room / 2 + room % 2 else shorter to longer
    return if (first > second) large to small else small to large
}
