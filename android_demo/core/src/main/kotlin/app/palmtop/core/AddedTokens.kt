package app.palmtop.core

import org.json.JSONArray
import org.json.JSONObject

/** Tokens that are looked for in the text itself, such as a literal [MASK], before anything else is. */
internal class AddedTokens private constructor(
    private val tokens: List<AddedToken>,
) {
    private class AddedToken(
        val id: Int,
        val points: IntArray,
        val settings: JSONObject,
    ) {
        val singleWord = settings.optBoolean("single_word")
        val takesSpacesBefore = settings.optBoolean("lstrip")
        val takesSpacesAfter = settings.optBoolean("rstrip")
    }

    /** A part of a text: of a token its id, of what lies between null. */
    class Part(
        val piece: Piece,
        val id: Int?,
    )

    private val byFirst: Map<Int, List<AddedToken>> =
        tokens.groupBy { it.points[0] }.mapValues { (_, of) -> of.sortedByDescending { it.points.size } }

    /** The longest token at each place, from left to right, and what lies between. */
    fun split(piece: Piece): List<Part> {
        if (tokens.isEmpty() || piece.size == 0) return listOf(Part(piece, null))
        val made = ArrayList<Part>()
        var done = 0
        var place = 0
        while (place < piece.size) {
            val token = byFirst[piece.points[place]]?.find { it.isAt(piece, place) }
            if (token == null) {
                place++
                continue
            }
            val after = place + token.points.size
            if (!token.singleWord || isAlone(piece, place, after)) {
                val from = if (token.takesSpacesBefore) maxOf(done, spacesBefore(piece, place)) else place
                val to = if (token.takesSpacesAfter) spacesAfter(piece, after) else after
                if (from > done) made += Part(piece.slice(done, from), null)
                made += Part(piece.slice(from, to), token.id)
                done = to
            }
            place = maxOf(after, done)
        }
        if (done < piece.size) made += Part(piece.slice(done, piece.size), null)
        return made
    }

    private fun AddedToken.isAt(
        piece: Piece,
        place: Int,
    ): Boolean = place + points.size <= piece.size && points.indices.all { piece.points[place + it] == points[it] }

    private fun isAlone(
        piece: Piece,
        from: Int,
        to: Int,
    ): Boolean =
        (from == 0 || piece.points[from - 1] !in Unicode.wordCharacters) &&
            (to == piece.size || piece.points[to] !in Unicode.wordCharacters)

    private fun spacesBefore(
        piece: Piece,
        place: Int,
    ): Int {
        var from = place
        while (from > 0 && piece.points[from - 1] in Unicode.whitespace) from--
        return from
    }

    private fun spacesAfter(
        piece: Piece,
        place: Int,
    ): Int {
        var to = place
        while (to < piece.size && piece.points[to] in Unicode.whitespace) to++
        return to
    }

    companion object {
        /**
         * Those that are looked for in the text as it is written, and those looked for after [normalizer] was at work.
         */
        fun of(
            json: JSONArray?,
            normalizer: Normalizer,
        ): Pair<AddedTokens, AddedTokens> {
            val (later, before) = json?.objects().orEmpty().partition { it.optBoolean("normalized") }
            return AddedTokens(before.mapNotNull { token(it) { piece -> piece } }) to
                AddedTokens(later.mapNotNull { token(it, normalizer::normalized) })
        }

        private fun token(
            json: JSONObject,
            changed: (Piece) -> Piece,
        ): AddedToken? {
            val points = changed(Piece.of(json.getString("content"))).points
            return if (points.isEmpty()) null else AddedToken(json.getInt("id"), points, json)
        }
    }
}
