package app.palmtop.core

import org.json.JSONObject

/** The most probable way to put a piece together of tokens (Kudo 2018), by Viterbi's algorithm. */
internal class Unigram private constructor(
    private val ids: Map<String, Int>,
    private val scores: DoubleArray,
    private val unknown: Int?,
    private val bytes: List<Int>?,
) : TokenModel {
    /** Longest token in UTF-16 units. */
    private val longest = ids.keys.maxOf { it.length }
    private val unknownScore = scores.min() - PENALTY

    override fun tokenize(
        piece: Piece,
        out: TokenList,
    ) {
        var pending = -1 // the end of unknown code points that are told as one
        val found = ArrayList<IntArray>()
        val (begins, tokens) = best(piece)
        var end = piece.size
        while (end > 0) {
            val begin = begins[end]
            if (tokens[end] == unknown) {
                if (pending < 0) pending = end
            } else {
                if (pending >= 0) found += intArrayOf(end, pending)
                pending = -1
                found += intArrayOf(begin, end)
            }
            end = begin
        }
        if (pending >= 0) found += intArrayOf(0, pending)
        for ((from, to) in found.asReversed().map { it[0] to it[1] }) emit(piece, from, to, out)
    }

    private fun emit(
        piece: Piece,
        from: Int,
        to: Int,
        out: TokenList,
    ) {
        val text = String(piece.points, from, to - from)
        val id = ids[text]
        when {
            id != null -> out.add(id, piece, from, to)
            bytes != null -> text.toByteArray().forEach { out.add(bytes[it.toInt() and 0xff], piece, from, to) }
            else -> out.add(unknown ?: throw UnknownTokenizer("Unigram without an unknown token met '$text'"), piece, from, to)
        }
    }

    /** For each place where a token of the best way there begins, and which token that is. */
    private fun best(piece: Piece): Pair<IntArray, IntArray> {
        val text = piece.points.asText()
        val begins = IntArray(piece.size + 1) { NONE }
        val tokens = IntArray(piece.size + 1) { NONE }
        val reached = DoubleArray(piece.size + 1)
        var unit = 0
        for (from in 0 until piece.size) {
            var single = false
            var end = unit
            for (to in from + 1..piece.size) {
                end += Character.charCount(piece.points[to - 1])
                if (end - unit > longest) break
                val id = ids[text.substring(unit, end)] ?: continue
                single = single || to == from + 1
                val score = reached[from] + scores[id]
                if (begins[to] == NONE || score > reached[to]) {
                    begins[to] = from
                    tokens[to] = id
                    reached[to] = score
                }
            }
            val score = reached[from] + unknownScore
            if (!single && (begins[from + 1] == NONE || score > reached[from + 1])) {
                begins[from + 1] = from
                tokens[from + 1] = unknown ?: UNKNOWN
                reached[from + 1] = score
            }
            unit += Character.charCount(piece.points[from])
        }
        return begins to tokens
    }

    companion object {
        private const val NONE = -1
        private const val UNKNOWN = -2

        /** How much less probable than any token an unknown code point is; a constant of SentencePiece. */
        private const val PENALTY = 10.0

        fun of(json: JSONObject): Unigram {
            val rows = json.getJSONArray("vocab")
            val ids = HashMap<String, Int>(2 * rows.length())
            val scores = DoubleArray(rows.length())
            for (id in 0 until rows.length()) {
                ids[rows.getJSONArray(id).getString(0)] = id
                scores[id] = rows.getJSONArray(id).getDouble(1)
            }
            val unknown = if (json.isNull("unk_id")) null else json.getInt("unk_id")
            val bytes = List(256) { ids[byteToken(it)] }.filterNotNull()
            return Unigram(ids, scores, unknown, bytes.takeIf { json.optBoolean("byte_fallback", false) && it.size == 256 })
        }
    }
}
