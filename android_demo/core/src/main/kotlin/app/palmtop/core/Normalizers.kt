package app.palmtop.core

import org.json.JSONArray
import org.json.JSONObject

/** What a tokenizer does to a text before it is split. */
internal fun interface Normalizer {
    fun normalized(piece: Piece): Piece
}

internal object Normalizers {
    /** The normalizer that tokenizer.json describes under `normalizer`; one that changes nothing for null. */
    fun of(json: JSONObject?): Normalizer =
        when (val type = json?.getString("type")) {
            null -> Normalizer { it }
            "Sequence" -> inTurn(json.getJSONArray("normalizers").objects().map(::of))
            "BertNormalizer" -> bert(json)
            "NFC" -> Normalizer { composed(decomposed(it, false), it) }
            "NFD" -> Normalizer { decomposed(it, false).over(it) }
            "NFKC" -> Normalizer { composed(decomposed(it, true), it) }
            "NFKD" -> Normalizer { decomposed(it, true).over(it) }
            "Lowercase" -> Normalizer(::lowercase)
            "StripAccents" -> Normalizer { without(it, Unicode.marks) }
            "Strip" -> strip(json.getBoolean("strip_left"), json.getBoolean("strip_right"))
            "Replace" -> Replacement.of(json)
            "Precompiled" -> Precompiled.of(json)
            "Prepend" -> json.getString("prepend").let { text -> Normalizer { it.prepended(text) } }
            else -> throw UnknownTokenizer("the normalizer '$type' isn't known to this app")
        }

    private fun inTurn(steps: List<Normalizer>) = Normalizer { steps.fold(it) { piece, step -> step.normalized(piece) } }

    private fun bert(json: JSONObject): Normalizer {
        val lower = json.getBoolean("lowercase")
        val strip = if (json.isNull("strip_accents")) lower else json.getBoolean("strip_accents")
        return inTurn(
            listOfNotNull(
                Normalizer(::cleaned).takeIf { json.getBoolean("clean_text") },
                Normalizer(::apart).takeIf { json.getBoolean("handle_chinese_chars") },
                Normalizer { without(decomposed(it, false).over(it), Unicode.nonspacingMarks) }.takeIf { strip },
                Normalizer(::lowercase).takeIf { lower },
            ),
        )
    }

    private fun cleaned(piece: Piece): Piece {
        val made = PieceBuilder(piece.size)
        for ((place, point) in piece.points.withIndex()) {
            if (point in Unicode.control) continue
            made.add(if (point in Unicode.cleanedToSpace) SPACE else point, piece, place)
        }
        return made.build()
    }

    /** Ideographs with a space on either side. */
    private fun apart(piece: Piece): Piece {
        val made = PieceBuilder(piece.size)
        for ((place, point) in piece.points.withIndex()) {
            val alone = point in Unicode.ideographs
            if (alone) made.add(SPACE, piece, place)
            made.add(point, piece, place)
            if (alone) made.add(SPACE, piece, place)
        }
        return made.build()
    }

    private fun lowercase(piece: Piece): Piece {
        val made = PieceBuilder(piece.size)
        for ((place, point) in piece.points.withIndex()) {
            Unicode.lower(point)?.forEach { made.add(it, piece, place) } ?: made.add(point, piece, place)
        }
        return made.build()
    }

    private fun without(
        piece: Piece,
        removed: CodePointSet,
    ): Piece {
        val made = PieceBuilder(piece.size)
        for ((place, point) in piece.points.withIndex()) if (point !in removed) made.add(point, piece, place)
        return made.build()
    }

    private fun strip(
        left: Boolean,
        right: Boolean,
    ) = Normalizer { piece ->
        var from = 0
        var to = piece.size
        if (left) while (from < to && piece.points[from] in Unicode.whitespace) from++
        if (right) while (to > from && piece.points[to - 1] in Unicode.whitespace) to--
        piece.slice(from, to)
    }
}

/** Replaces a string, or runs of two spaces and more (the one regular expression that tokenizers of this kind use). */
internal object Replacement {
    private const val RUN = " {2,}"

    fun of(json: JSONObject): Normalizer {
        val pattern = json.getJSONObject("pattern")
        val content = json.getString("content").toCodePoints()
        if (pattern.has("String")) {
            val wanted = pattern.getString("String").toCodePoints()
            if (wanted.isEmpty()) throw UnknownTokenizer("the normalizer 'Replace' of nothing isn't known to this app")
            return Normalizer { piece -> replaced(piece, content) { piece.matched(wanted, it) } }
        }
        val expression = pattern.getString("Regex")
        if (expression != RUN) {
            throw UnknownTokenizer("the normalizer 'Replace' of the expression '$expression' isn't known to this app")
        }
        return Normalizer { piece -> replaced(piece, content) { piece.spaces(it) } }
    }

    /** Every new code point stands for what the last one that is replaced stood for, as in Hugging Face's. */
    private fun replaced(
        piece: Piece,
        content: IntArray,
        matched: (Int) -> Int,
    ): Piece {
        val made = PieceBuilder(piece.size)
        var place = 0
        while (place < piece.size) {
            val count = matched(place)
            if (count == 0) {
                made.add(piece.points[place], piece, place)
                place++
            } else {
                place += count
                for (point in content) made.add(point, piece, place - 1)
            }
        }
        return made.build()
    }

    private fun Piece.matched(
        wanted: IntArray,
        place: Int,
    ): Int {
        val there = place + wanted.size <= size && wanted.indices.all { points[place + it] == wanted[it] }
        return if (there) wanted.size else 0
    }

    private fun Piece.spaces(place: Int): Int {
        var end = place
        while (end < size && points[end] == SPACE) end++
        return if (end - place > 1) end - place else 0
    }
}

internal const val SPACE: Int = ' '.code

internal fun String.toCodePoints(): IntArray = codePoints().toArray()

internal fun IntArray.asText(): String = String(this, 0, size)

/** With [text] in front; its code points stand for what the first one stands for. Nothing is put before nothing. */
internal fun Piece.prepended(text: String): Piece {
    if (size == 0) return this
    val made = PieceBuilder(size + text.length)
    for (point in text.toCodePoints()) made.add(point, this, 0)
    for (place in 0 until size) made.add(points[place], this, place)
    return made.build()
}

internal fun JSONArray.objects(): List<JSONObject> = (0 until length()).map(::getJSONObject)

internal fun JSONArray.strings(): List<String> = (0 until length()).map(::getString)
