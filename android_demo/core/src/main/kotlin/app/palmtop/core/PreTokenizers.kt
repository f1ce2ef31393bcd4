package app.palmtop.core

import org.json.JSONObject

/** Splits a text into the pieces within which tokens are sought. */
internal fun interface PreTokenizer {
    fun split(piece: Piece): List<Piece>
}

internal object PreTokenizers {
    /** The pre-tokenizer that tokenizer.json describes; one that splits nothing for null. */
    fun of(json: JSONObject?): PreTokenizer =
        when (val type = json?.getString("type")) {
            null -> PreTokenizer { listOf(it) }
            "Sequence" -> inTurn(json.getJSONArray("pretokenizers").objects().map(::of))
            "BertPreTokenizer" -> inTurn(listOf(PreTokenizer(::atSpaces), isolated(Unicode.bertPunctuation)))
            "WhitespaceSplit" -> PreTokenizer(::atSpaces)
            "Whitespace" -> PreTokenizer(::words)
            "Punctuation" -> punctuation(json)
            "Digits" -> digits(json.getBoolean("individual_digits"))
            "ByteLevel" -> ByteLevel.preTokenizer(json)
            "Metaspace" -> metaspace(json)
            else -> throw UnknownTokenizer("the pre-tokenizer '$type' isn't known to this app")
        }

    private fun inTurn(steps: List<PreTokenizer>) =
        PreTokenizer { whole -> steps.fold(listOf(whole)) { pieces, step -> pieces.flatMap(step::split).filter { it.size > 0 } } }

    private fun atSpaces(piece: Piece): List<Piece> = piece.grouped { if (it in Unicode.whitespace) NOTHING else INSIDE }

    /** Runs of letters and the like, and runs of other signs. */
    private fun words(piece: Piece): List<Piece> =
        piece.grouped {
            when (it) {
                in Unicode.wordCharacters -> INSIDE
                in Unicode.spaces -> NOTHING
                else -> SIGNS
            }
        }

    private fun punctuation(json: JSONObject): PreTokenizer {
        val behavior = json.optString("behavior", "Isolated")
        if (behavior != "Isolated") {
            throw UnknownTokenizer("the pre-tokenizer 'Punctuation' with behavior '$behavior' isn't known to this app")
        }
        return isolated(Unicode.punctuation)
    }

    private fun digits(each: Boolean): PreTokenizer =
        if (each) isolated(Unicode.digits) else PreTokenizer { piece -> piece.grouped { if (it in Unicode.digits) SIGNS else INSIDE } }

    private fun isolated(alone: CodePointSet) = PreTokenizer { piece -> piece.grouped { if (it in alone) ALONE else INSIDE } }

    private fun metaspace(json: JSONObject): PreTokenizer {
        val sign = json.getString("replacement")
        val scheme = json.optString("prepend_scheme", if (json.optBoolean("add_prefix_space", true)) "always" else "never")
        if (scheme !in SCHEMES) throw UnknownTokenizer("the pre-tokenizer 'Metaspace' with '$scheme' isn't known to this app")
        val splits = json.optBoolean("split", true)
        val point = sign.codePointAt(0)
        return PreTokenizer { piece ->
            val signed = Piece(piece.points.map { if (it == SPACE) point else it }.toIntArray(), piece.begins, piece.ends)
            val first = scheme == "always" || (scheme == "first" && signed.begins.firstOrNull() == 0)
            val whole = if (first && signed.points.firstOrNull() != point) signed.prepended(sign) else signed
            if (splits) whole.before(point) else listOf(whole)
        }
    }

    /** Split before every [point]. */
    private fun Piece.before(point: Int): List<Piece> {
        val starts = points.indices.filter { it == 0 || points[it] == point }
        return starts.mapIndexed { at, start -> slice(start, starts.getOrElse(at + 1) { size }) }
    }

    /** Runs of code points of one group; those of ALONE each by itself, those of NOTHING left out. */
    private inline fun Piece.grouped(group: (Int) -> Int): List<Piece> {
        val made = ArrayList<Piece>()
        var start = 0
        var last = NOTHING
        for (place in 0..size) {
            val found = if (place < size) group(points[place]) else NOTHING
            if (found == last && found != ALONE) continue
            if (last != NOTHING && place > start) made += slice(start, place)
            start = place
            last = found
        }
        return made
    }

    private val SCHEMES = setOf("always", "first", "never")
    private const val NOTHING = 0
    private const val INSIDE = 1
    private const val SIGNS = 2
    private const val ALONE = 3
}
