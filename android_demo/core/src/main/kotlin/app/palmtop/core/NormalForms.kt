package app.palmtop.core

/**
 * Code points on their way through a normal form: [changes] says of each how it came about, as in the Rust crate that
 * Hugging Face's tokenizers rests on: 0 in place of one, 1 beside one, -n in place of 1 + n.
 */
internal class Changed(
    val points: IntArray,
    val changes: IntArray,
) {
    /** As a piece; [source] is the piece that was changed. */
    fun over(source: Piece): Piece {
        val made = PieceBuilder(points.size)
        var place = 0
        for (at in points.indices) {
            if (changes[at] > 0) {
                made.add(points[at], source, place - 1)
            } else {
                made.add(points[at], source, place)
                place += 1 - changes[at]
            }
        }
        return made.build()
    }
}

/** NFD, or with [compatibility] NFKD (Unicode Standard Annex 15). */
internal fun decomposed(
    piece: Piece,
    compatibility: Boolean,
): Changed {
    val points = ArrayList<Int>(piece.size)
    val changes = ArrayList<Int>(piece.size)
    for (point in piece.points) {
        val parts = Unicode.decomposition(point, compatibility) ?: intArrayOf(point)
        parts.forEachIndexed { at, part ->
            points += part
            changes += if (at == 0) 0 else 1
        }
    }
    val order = ordered(points)
    return Changed(IntArray(order.size) { points[order[it]] }, IntArray(order.size) { changes[order[it]] })
}

/** NFC of what [decomposed] made of [source]. */
internal fun composed(
    parts: Changed,
    source: Piece,
): Piece {
    val points = ArrayList<Int>(parts.points.size)
    val changes = ArrayList<Int>(parts.points.size)
    var starter = -1
    var lastClass = 0
    for (at in parts.points.indices) {
        val point = parts.points[at]
        val kind = Unicode.combiningClass(point)
        val blocked = starter >= 0 && points.size - 1 > starter && (lastClass >= kind)
        val whole = if (starter >= 0 && !blocked) Unicode.composed(points[starter], point) else null
        if (whole != null) {
            points[starter] = whole
            changes[starter] += parts.changes[at] - 1
            continue
        }
        points += point
        changes += parts.changes[at]
        if (kind == 0) starter = points.size - 1
        lastClass = kind
    }
    return Changed(points.toIntArray(), changes.toIntArray()).over(source)
}

/** Places in canonical order: marks that follow each other sorted by their classes. */
private fun ordered(points: List<Int>): List<Int> {
    val order = ArrayList<Int>(points.size)
    val marks = ArrayList<Int>()

    fun flush() {
        order += marks.sortedBy { Unicode.combiningClass(points[it]) }
        marks.clear()
    }
    for (place in points.indices) {
        if (Unicode.combiningClass(points[place]) != 0) {
            marks += place
        } else {
            flush()
            order += place
        }
    }
    flush()
    return order
}
