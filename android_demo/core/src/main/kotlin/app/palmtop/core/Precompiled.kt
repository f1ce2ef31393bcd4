package app.palmtop.core

import org.json.JSONObject
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.Base64

/** SentencePiece's own table of what becomes of characters, such as nmt_nfkc: a double array of UTF-8, and the new texts. */
internal class Precompiled private constructor(
    private val units: IntArray,
    private val texts: ByteArray,
) : Normalizer {
    /** As in the Rust crate spm_precompiled: clusters below six bytes are looked up whole, by their shortest prefix. */
    override fun normalized(piece: Piece): Piece {
        val points = ArrayList<Int>(piece.size)
        val changes = ArrayList<Int>(piece.size)
        var place = 0
        while (place < piece.size) {
            val end = cluster(piece, place)
            val whole = String(piece.points, place, end - place).toByteArray(Charsets.UTF_8)
            val found = if (whole.size < WHOLE_BYTES) look(whole) else null
            if (found != null) {
                replace(end - place, found, points, changes)
            } else {
                for (at in place until end) replaceOne(piece.points[at], points, changes)
            }
            place = end
        }
        return Changed(points.toIntArray(), changes.toIntArray()).over(piece)
    }

    private fun replaceOne(
        point: Int,
        points: MutableList<Int>,
        changes: MutableList<Int>,
    ) {
        val found = look(String(Character.toChars(point)).toByteArray(Charsets.UTF_8))
        if (found != null) return replace(1, found, points, changes)
        points += point
        changes += 0
    }

    /** Put [new] in place of [old] code points; of a shorter text the last takes the rest's place, even if that is another's. */
    private fun replace(
        old: Int,
        new: IntArray,
        points: MutableList<Int>,
        changes: MutableList<Int>,
    ) {
        for ((at, point) in new.withIndex()) {
            points += point
            changes += if (at < old) 0 else 1
        }
        if (new.size < old && changes.isNotEmpty()) changes[changes.lastIndex] += new.size - old
    }

    /** The code points that stand for the shortest key that [bytes] begin with. */
    private fun look(bytes: ByteArray): IntArray? {
        var place = offset(units[0])
        for (byte in bytes) {
            val key = byte.toInt() and 0xff
            if (key == 0) return null
            place = place xor key
            val unit = units.getOrElse(place) { return null }
            if (unit and LABEL != key) return null
            place = place xor offset(unit)
            if (unit shr LEAF and 1 == 1) return text(units[place] and Int.MAX_VALUE)
        }
        return null
    }

    private fun offset(unit: Int): Int = unit ushr 10 shl (unit and (1 shl 9) ushr 6)

    private fun text(begin: Int): IntArray {
        var end = begin
        while (end < texts.size && texts[end] != 0.toByte()) end++
        return String(texts, begin, end - begin, Charsets.UTF_8).toCodePoints()
    }

    /** Where the cluster that begins at [place] ends (Unicode Standard Annex 29), as far as clusters below six bytes go. */
    private fun cluster(
        piece: Piece,
        place: Int,
    ): Int {
        val points = piece.points
        if (points[place] == '\r'.code && points.getOrNull(place + 1) == '\n'.code) return place + 2
        var end = place + 1
        if (isControl(points[place])) return end
        while (end < points.size && (points[end] in Unicode.joining || isSyllable(points[end - 1], points[end]))) end++
        return end
    }

    private fun isSyllable(
        before: Int,
        point: Int,
    ): Boolean = Unicode.composed(before, point).let { it != null && it in SYLLABLES }

    private fun isControl(point: Int): Boolean =
        point in '\t'.code..'\r'.code ||
            point in LINE..PARAGRAPH ||
            (point in Unicode.control && point !in Unicode.joining && point !in PRIVATE)

    companion object {
        private const val WHOLE_BYTES = 6
        private const val LEAF = 8
        private const val LABEL = 1 shl 31 or 0xff
        private const val LINE = 0x2028
        private const val PARAGRAPH = 0x2029
        private val PRIVATE = 0xE000..0xF8FF
        private val SYLLABLES = 0xAC00..0xD7A3

        fun of(json: JSONObject): Normalizer {
            val bytes = ByteBuffer.wrap(Base64.getDecoder().decode(json.getString("precompiled_charsmap"))).order(ByteOrder.LITTLE_ENDIAN)
            if (bytes.remaining() < Int.SIZE_BYTES) throw UnknownTokenizer("the normalizer 'Precompiled' is empty")
            val size = bytes.getInt()
            if (size < Int.SIZE_BYTES || size > bytes.remaining()) throw UnknownTokenizer("the normalizer 'Precompiled' is damaged")
            val units = IntArray(size / Int.SIZE_BYTES) { bytes.getInt() }
            return Precompiled(units, ByteArray(bytes.remaining()).also { bytes.get(it) })
        }
    }
}
