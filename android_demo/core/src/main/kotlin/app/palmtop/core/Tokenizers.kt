package app.palmtop.core

/** Tokenizers from Hugging Face's tokenizer.json: WordPiece, byte-level BPE and Unigram. */
public object Tokenizers {
    /**
     * The tokenizer that a tokenizer.json describes.
     *
     * @throws UnknownTokenizer it asks for what isn't known here, by name; nothing is left out in silence.
     */
    public fun fromJson(json: String): Tokenizer = TODO("next commit: $json")
}
