package app.palmtop.core

/**
 * A part of a text on its way to tokens: code points, and for each the characters of the text that it stands for.
 *
 * As in Hugging Face's NormalizedString, a change of the text keeps for every new code point where it comes from.
 */
internal class Piece(
    val points: IntArray,
    val begins: IntArray,
    val ends: IntArray,
) {
    val size: Int get() = points.size

    fun slice(
        from: Int,
        to: Int,
    ): Piece = Piece(points.copyOfRange(from, to), begins.copyOfRange(from, to), ends.copyOfRange(from, to))

    companion object {
        /** Of a whole text; lone halves of surrogate pairs become U+FFFD, as they do on their way to UTF-8. */
        fun of(text: String): Piece {
            val made = PieceBuilder(text.length)
            var place = 0
            while (place < text.length) {
                val point = text.codePointAt(place)
                val next = place + Character.charCount(point)
                made.add(if (point in Char.MIN_SURROGATE.code..Char.MAX_SURROGATE.code) REPLACEMENT else point, place, next)
                place = next
            }
            return made.build()
        }

        private const val REPLACEMENT = 0xFFFD
    }
}

/** Puts a [Piece] together, code point by code point. */
internal class PieceBuilder(
    expected: Int = 16,
) {
    private var points = IntArray(maxOf(expected, 1))
    private var begins = IntArray(points.size)
    private var ends = IntArray(points.size)
    var size: Int = 0
        private set

    fun add(
        point: Int,
        begin: Int,
        end: Int,
    ) {
        if (size == points.size) grow()
        points[size] = point
        begins[size] = begin
        ends[size++] = end
    }

    /** Add a code point that stands for what the one at [place] of [from] stands for. */
    fun add(
        point: Int,
        from: Piece,
        place: Int,
    ): Unit = if (place < 0) add(point, 0, 0) else add(point, from.begins[place], from.ends[place])

    fun build(): Piece = Piece(points.copyOf(size), begins.copyOf(size), ends.copyOf(size))

    private fun grow() {
        points = points.copyOf(2 * size)
        begins = begins.copyOf(2 * size)
        ends = ends.copyOf(2 * size)
    }
}
