package app.palmtop.core

/** Where something stands in a text: from its first character to the one after its last. */
internal class Place(
    val begin: Int,
    val end: Int,
)

/** The words of a text as a person writes it: parted at spaces, and signs at their beginning and end by themselves. */
internal fun wordsOf(text: String): List<Place> {
    val found = ArrayList<Place>()
    var place = 0
    while (place < text.length) {
        if (isSpace(text, place)) {
            place += width(text, place)
            continue
        }
        val start = place
        while (place < text.length && !isSpace(text, place)) place += width(text, place)
        addWord(text, start, place, found)
    }
    return found
}

private fun addWord(
    text: String,
    start: Int,
    end: Int,
    found: MutableList<Place>,
) {
    var first = start
    while (first < end && !isOfAWord(text.codePointAt(first))) {
        found += Place(first, first + width(text, first))
        first += width(text, first)
    }
    var last = end
    val signs = ArrayList<Place>()
    while (last > first && !isOfAWord(text.codePointBefore(last))) {
        val before = last - Character.charCount(text.codePointBefore(last))
        signs += Place(before, last)
        last = before
    }
    if (last > first) found += Place(first, last)
    found += signs.asReversed()
}

/** The place in [text] of each token, without spaces at its beginning; null of tokens that stand for nothing of it. */
internal fun placesOf(
    encoded: Encoded,
    text: String,
): List<Place?> =
    encoded.ids.indices.map { token ->
        if (encoded.sequences[token] == Encoded.SPECIAL) return@map null
        var begin = encoded.begins[token]
        while (begin < encoded.ends[token] && isSpace(text, begin)) begin += width(text, begin)
        Place(begin, encoded.ends[token])
    }

/** The first token of each word; null where the word was cut off. */
internal fun firstTokens(
    tokens: List<Place?>,
    words: List<Place>,
): List<Int?> {
    val real = tokens.indices.filter { tokens[it].let { place -> place != null && place.end > place.begin } }
    var at = 0
    return words.map { word ->
        while (at < real.size && tokens[real[at]]!!.end <= word.begin) at++
        real.getOrNull(at)?.takeIf { tokens[it]!!.begin < word.end }
    }
}

/** An entity among words: its type, its first and its last word. */
internal class Marked(
    val label: String,
    val first: Int,
    val last: Int,
)

/** The entities that IOB2 tags mark; an `I-` that follows no tag of its type begins one, as conlleval has it. */
internal fun entities(tags: List<String>): List<Marked> {
    val found = ArrayList<Marked>()
    var open: String? = null
    var begin = 0
    for ((place, tag) in (tags + NO_ENTITY).withIndex()) {
        val mark = tag.substringBefore('-')
        val type = tag.substringAfter('-', "")
        if (open != null && !(mark == "I" && type == open)) {
            found += Marked(open, begin, place - 1)
            open = null
        }
        if (open == null && (mark == "B" || mark == "I")) {
            open = type.ifEmpty { "_" }
            begin = place
        }
    }
    return found
}

/** The tag of a word that is part of no entity. */
internal const val NO_ENTITY: String = "O"

/** Letters, numbers and marks. The table of marks is older than those that Python counts; a regular expression's word has them all. */
private fun isOfAWord(point: Int): Boolean {
    if (point in Unicode.letters || point in Unicode.numbers) return true
    return point in Unicode.wordCharacters && ONLY_OF_EXPRESSIONS.none { point in it }
}

/** Of an expression's word characters what is no letter, number or mark: connecting signs such as '_', joiners, circled letters. */
private val ONLY_OF_EXPRESSIONS =
    listOf(
        0x5F..0x5F,
        0x200C..0x200D,
        0x203F..0x2040,
        0x2054..0x2054,
        0x24B6..0x24E9,
        0xFE33..0xFE34,
        0xFE4D..0xFE4F,
        0xFF3F..0xFF3F,
        0x1F130..0x1F149,
        0x1F150..0x1F169,
        0x1F170..0x1F189,
    )

/** As Python has it, which counts the separators U+001C to U+001F too. */
internal fun isSpace(
    text: String,
    place: Int,
): Boolean = text.codePointAt(place).let { it in Unicode.whitespace || it in 0x1C..0x1F }

private fun width(
    text: String,
    place: Int,
) = Character.charCount(text.codePointAt(place))
