package app.palmtop.core

import org.json.JSONObject

/** GPT-2's way with texts (Radford et al. 2019): every byte of UTF-8 is a visible character, and nothing is unknown. */
internal object ByteLevel {
    /** The character that stands for each byte: itself where it is visible, else one from U+0100 on, in their order. */
    val CHARACTERS: IntArray = characters()

    fun preTokenizer(json: JSONObject): PreTokenizer {
        val prefix = json.getBoolean("add_prefix_space")
        val splits = json.optBoolean("use_regex", true)
        return PreTokenizer { piece ->
            val whole = if (prefix && piece.points.firstOrNull() != SPACE) piece.prepended(" ") else piece
            (if (splits) words(whole) else listOf(whole)).map(::asBytes)
        }
    }

    private fun characters(): IntArray {
        val visible = ('!'.code..'~'.code) + (0xA1..0xAC) + (0xAE..0xFF)
        var next = 0x100
        return IntArray(256) { if (it in visible) it else next++ }
    }

    private fun asBytes(piece: Piece): Piece {
        val made = PieceBuilder(2 * piece.size)
        for ((place, point) in piece.points.withIndex()) {
            for (byte in utf8(point)) made.add(CHARACTERS[byte.toInt() and 0xff], piece, place)
        }
        return made.build()
    }

    private fun utf8(point: Int): ByteArray = String(Character.toChars(point)).toByteArray(Charsets.UTF_8)

    /** GPT-2's expression: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. */
    private fun words(piece: Piece): List<Piece> {
        val made = ArrayList<Piece>()
        var place = 0
        while (place < piece.size) {
            val end = place + (contraction(piece, place) ?: word(piece, place) ?: spaces(piece, place))
            made += piece.slice(place, end)
            place = end
        }
        return made
    }

    private fun contraction(
        piece: Piece,
        place: Int,
    ): Int? {
        if (piece.points[place] != '\''.code) return null
        return CONTRACTIONS
            .find { ending -> ending.indices.all { piece.points.getOrNull(place + 1 + it) == ending[it].code } }
            ?.let { it.length + 1 }
    }

    /** A run of letters, of numbers or of signs, with one space before it. */
    private fun word(
        piece: Piece,
        place: Int,
    ): Int? {
        val start = if (piece.points[place] == SPACE) place + 1 else place
        if (start == piece.size) return null
        val kind = kind(piece.points[start])
        if (kind == SPACES) return null
        var end = start
        while (end < piece.size && kind(piece.points[end]) == kind) end++
        return end - place
    }

    /** A run of spaces; its last is left for the word that follows, if there is another. */
    private fun spaces(
        piece: Piece,
        place: Int,
    ): Int {
        var end = place
        while (end < piece.size && kind(piece.points[end]) == SPACES) end++
        return if (end < piece.size && end - place > 1) end - place - 1 else end - place
    }

    private fun kind(point: Int): Int =
        when (point) {
            in Unicode.letters -> LETTERS
            in Unicode.numbers -> NUMBERS
            in Unicode.spaces -> SPACES
            else -> SIGNS
        }

    private val CONTRACTIONS = listOf("s", "t", "re", "ve", "m", "ll", "d")
    private const val LETTERS = 0
    private const val NUMBERS = 1
    private const val SPACES = 2
    private const val SIGNS = 3
}
