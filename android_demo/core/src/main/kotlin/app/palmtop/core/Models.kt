package app.palmtop.core

import org.json.JSONObject

/** Finds tokens in a piece of a text. */
internal fun interface TokenModel {
    fun tokenize(
        piece: Piece,
        out: TokenList,
    )
}

/** Tokens one after the other. */
internal class TokenList {
    val tokens = ArrayList<Token>()

    /** Add a token that stands for the code points from [from] to [to] of a piece. */
    fun add(
        id: Int,
        piece: Piece,
        from: Int,
        to: Int,
    ) {
        tokens += Token(id, piece.begins[from], piece.ends[to - 1])
    }

    /** Add a token that was found in the text itself. */
    fun addWritten(
        id: Int,
        piece: Piece,
    ) {
        tokens += Token(id, piece.begins[0], piece.ends[piece.size - 1], piece.points.asText())
    }
}

/** A token's id, and the characters it stands for. */
internal class Token(
    val id: Int,
    val begin: Int,
    val end: Int,
    /** Of a token that was found in the text itself how it is written there, with the spaces that it takes. */
    val written: String? = null,
)

/** What ids are called, and the other way round. */
internal class Vocabulary(
    private val ids: Map<String, Int>,
) {
    private val names: Map<Int, String> by lazy { ids.entries.associate { it.value to it.key } }

    fun id(token: String): Int? = ids[token]

    fun name(id: Int): String? = names[id]

    companion object {
        fun of(json: JSONObject): Vocabulary {
            val made = HashMap<String, Int>(2 * json.length())
            for (token in json.keys()) made[token] = json.getInt(token)
            return Vocabulary(made)
        }
    }
}

internal object Models {
    /** The model that tokenizer.json describes. */
    fun of(json: JSONObject): TokenModel =
        when (val type = json.optString("type", "none")) {
            "WordPiece" -> WordPiece.of(json)
            "BPE" -> BytePairs.of(json)
            "Unigram" -> Unigram.of(json)
            else -> throw UnknownTokenizer("the model '$type' isn't known to this app: WordPiece, BPE and Unigram are")
        }
}
