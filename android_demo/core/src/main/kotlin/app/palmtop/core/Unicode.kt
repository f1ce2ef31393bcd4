package app.palmtop.core

import java.io.ByteArrayInputStream
import java.util.Base64
import java.util.zip.InflaterInputStream

/**
 * What is done to code points, frozen: a phone's own tables differ by its version of Android.
 *
 * Read once from [UNICODE_TABLE], which unicode_table.py writes; the order here is the order there.
 */
internal object Unicode {
    private val table: ByteArray =
        InflaterInputStream(ByteArrayInputStream(Base64.getMimeDecoder().decode(UNICODE_TABLE))).readBytes()
    private var place = 0

    /** Characters that BertNormalizer's clean_text removes. */
    val control: CodePointSet = readSet()

    /** Characters that clean_text makes a space. */
    val cleanedToSpace: CodePointSet = readSet()

    /** Characters that handle_chinese_chars puts spaces around. */
    val ideographs: CodePointSet = readSet()

    /** Marks that BertNormalizer's strip_accents removes. */
    val nonspacingMarks: CodePointSet = readSet()

    /** Marks that StripAccents removes. */
    val marks: CodePointSet = readSet()

    /** Rust's char::is_whitespace. */
    val whitespace: CodePointSet = readSet()

    /** Punctuation of BertPreTokenizer. */
    val bertPunctuation: CodePointSet = readSet()

    /** Punctuation of the pre-tokenizer of that name. */
    val punctuation: CodePointSet = readSet()

    /** \p{L} of byte-level BPE's regular expression. */
    val letters: CodePointSet = readSet()

    /** \p{N} of that expression. */
    val numbers: CodePointSet = readSet()

    /** \s of that expression. */
    val spaces: CodePointSet = readSet()

    /** \w of the pre-tokenizer Whitespace. */
    val wordCharacters: CodePointSet = readSet()

    /** Digits of the pre-tokenizer of that name. */
    val digits: CodePointSet = readSet()

    /** Characters that come apart and are never put together again. */
    private val excluded: CodePointSet = readSet()

    /** Characters that make one cluster with the one before them. */
    val joining: CodePointSet = readSet()

    private val lower: Map<Int, IntArray> = readMap()
    private val canonical: Map<Int, IntArray> = readMap()
    private val compatible: Map<Int, IntArray> = readMap()
    private val classes: Map<Int, IntArray> = readMap()

    /** Composites by their two parts, in one number. */
    private val composites: Map<Long, Int> = pairs()

    /** The small letter; itself, where there is none. Two code points in one case, the dotted I. */
    fun lower(point: Int): IntArray? = lower[point]

    /** What a code point comes apart into in NFD, or in NFKD; null where it stays. */
    fun decomposition(
        point: Int,
        compatibility: Boolean,
    ): IntArray? = hangul(point) ?: (if (compatibility) compatible[point] else null) ?: canonical[point]

    /** The canonical combining class; 0 of what begins a cluster. */
    fun combiningClass(point: Int): Int = classes[point]?.get(0) ?: 0

    /** What two code points are put together to in NFC, or null. */
    fun composed(
        first: Int,
        second: Int,
    ): Int? = hangul(first, second) ?: composites[key(first, second)]

    private fun pairs(): Map<Long, Int> {
        val byParts = canonical.entries.filter { it.value.size > 1 && it.key !in excluded }
        val made = HashMap<Long, Int>()
        // a character of three parts is put together of that of the first two, and the third
        for ((point, parts) in byParts.sortedBy { it.value.size }) {
            var first = parts[0]
            for (next in 1 until parts.size - 1) first = made[key(first, parts[next])] ?: first
            made[key(first, parts.last())] = point
        }
        return made
    }

    private fun key(
        first: Int,
        second: Int,
    ): Long = first.toLong() shl 32 or second.toLong()

    private fun hangul(point: Int): IntArray? {
        val place = point - SYLLABLE
        if (place !in 0 until SYLLABLES) return null
        val tail = place % TAILS
        val parts = intArrayOf(LEAD + place / (VOWELS * TAILS), VOWEL + place % (VOWELS * TAILS) / TAILS)
        return if (tail == 0) parts else parts + (TAIL + tail)
    }

    private fun hangul(
        first: Int,
        second: Int,
    ): Int? =
        when {
            first - LEAD in 0 until LEADS && second - VOWEL in 0 until VOWELS -> {
                SYLLABLE + ((first - LEAD) * VOWELS + second - VOWEL) * TAILS
            }

            first - SYLLABLE in 0 until SYLLABLES && (first - SYLLABLE) % TAILS == 0 && second - TAIL in 1 until TAILS -> {
                first + second - TAIL
            }

            else -> {
                null
            }
        }

    private fun readSet(): CodePointSet {
        val bounds = IntArray(2 * number())
        var end = 0
        for (at in bounds.indices) {
            end += number()
            bounds[at] = end
        }
        return CodePointSet(bounds)
    }

    private fun readMap(): Map<Int, IntArray> {
        val count = number()
        val made = HashMap<Int, IntArray>(2 * count)
        var point = 0
        repeat(count) {
            point += number()
            made[point] = IntArray(number()) { point + unfolded(number()) }
        }
        return made
    }

    private fun unfolded(number: Int): Int = if (number and 1 == 0) number shr 1 else -(number shr 1) - 1

    private fun number(): Int {
        var made = 0
        var shift = 0
        while (true) {
            val byte = table[place++].toInt()
            made = made or (byte and 0x7f shl shift)
            if (byte >= 0) return made
            shift += 7
        }
    }

    // The Unicode Standard, section 3.12, "Conjoining Jamo Behavior"
    private const val SYLLABLE = 0xAC00
    private const val LEAD = 0x1100
    private const val VOWEL = 0x1161
    private const val TAIL = 0x11A7
    private const val LEADS = 19
    private const val VOWELS = 21
    private const val TAILS = 28
    private const val SYLLABLES = LEADS * VOWELS * TAILS
}

/** A set of code points as ranges: `bounds` has the first of each and the one after its last, ascending. */
internal class CodePointSet(
    private val bounds: IntArray,
) {
    operator fun contains(point: Int): Boolean {
        val found = bounds.binarySearch(point)
        val place = if (found >= 0) found else -found - 2
        return place >= 0 && place % 2 == 0
    }
}
