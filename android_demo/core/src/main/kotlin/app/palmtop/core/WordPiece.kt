package app.palmtop.core

import org.json.JSONObject

/** The longest token that fits, from left to right (Devlin et al. 2018); a word that doesn't come out is unknown. */
internal class WordPiece private constructor(
    private val vocabulary: Vocabulary,
    private val unknown: Int,
    private val prefix: String,
    private val longestWord: Int,
) : TokenModel {
    override fun tokenize(
        piece: Piece,
        out: TokenList,
    ) {
        val found = if (piece.size > longestWord) null else pieces(piece)
        if (found == null) {
            out.add(unknown, piece, 0, piece.size)
        } else {
            for ((id, from, to) in found) out.add(id, piece, from, to)
        }
    }

    /** Id, first and last of each token's code points; null where some are in no token. */
    private fun pieces(piece: Piece): List<Triple<Int, Int, Int>>? {
        val made = ArrayList<Triple<Int, Int, Int>>()
        var from = 0
        while (from < piece.size) {
            var to = piece.size
            var id = id(piece, from, to)
            while (id == null && --to > from) id = id(piece, from, to)
            made += Triple(id ?: return null, from, to)
            from = to
        }
        return made
    }

    private fun id(
        piece: Piece,
        from: Int,
        to: Int,
    ): Int? {
        val text = String(piece.points, from, to - from)
        return vocabulary.id(if (from > 0) prefix + text else text)
    }

    companion object {
        fun of(json: JSONObject): WordPiece {
            val vocabulary = Vocabulary.of(json.getJSONObject("vocab"))
            val unknown = json.getString("unk_token")
            return WordPiece(
                vocabulary,
                vocabulary.id(unknown) ?: throw UnknownTokenizer("the unknown token '$unknown' isn't in the vocabulary"),
                json.optString("continuing_subword_prefix", "##"),
                json.optInt("max_input_chars_per_word", 100),
            )
        }
    }
}
