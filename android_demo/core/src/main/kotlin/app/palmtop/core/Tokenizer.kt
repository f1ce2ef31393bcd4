package app.palmtop.core

/** Turns a text, or a pair of texts, into the token ids that a model was trained on. Safe to call from several threads. */
public interface Tokenizer {
    /**
     * Token ids of [text], or of [text] and [pair] together, with the special tokens of the model.
     *
     * @param maxLength longest result in tokens, specials included; what is longer is cut as [truncation] says.
     */
    public fun encode(
        text: String,
        pair: String? = null,
        maxLength: Int = Int.MAX_VALUE,
        truncation: Truncation = Truncation.LONGEST_FIRST,
    ): Encoded

    /** Tokens of [text] alone, without special tokens, uncut. */
    public fun tokens(text: String): Encoded
}

/** Which of two texts is cut when both together are too long. */
public enum class Truncation {
    /** The longer one first, as Hugging Face's tokenizers do by default. */
    LONGEST_FIRST,

    /** Only the second: a context, and never the question on it. */
    ONLY_SECOND,
}

/** A text as a model takes it: one place per token in every array, unpadded. */
public class Encoded(
    /** Token ids. */
    public val ids: IntArray,
    /** 0 for tokens of the first text, 1 for those of the second, as the model was trained. */
    public val typeIds: IntArray,
    /** For each token its first character (UTF-16, as Kotlin counts) in the text it comes from; 0 for special tokens. */
    public val begins: IntArray,
    /** For each token the character after its last; 0 for special tokens. */
    public val ends: IntArray,
    /** For each token the text it comes from: 0, 1, or [SPECIAL]. */
    public val sequences: IntArray,
    /** Whether something was cut off. */
    public val truncated: Boolean,
) {
    /** How many tokens there are. */
    public val size: Int get() = ids.size

    public companion object {
        /** In [sequences]: a token that stands for no text. */
        public const val SPECIAL: Int = -1
    }
}

/** The tokenizer.json asks for something that this code doesn't know; the message names it. */
public class UnknownTokenizer(
    message: String,
) : IllegalArgumentException(message)
