package app.palmtop.core

import org.json.JSONArray
import org.json.JSONObject
import java.util.PriorityQueue

/** Byte-pair encoding (Sennrich et al. 2016): neighbours are joined in the order in which training joined them. */
internal class BytePairs private constructor(
    private val vocabulary: Vocabulary,
    private val merges: Map<Long, Merge>,
    private val settings: Settings,
) : TokenModel {
    /** The place among all merges, and the token that is made. */
    private class Merge(
        val rank: Int,
        val id: Int,
    )

    private class Settings(
        val unknown: Int?,
        val fusesUnknown: Boolean,
        val takesWholeWords: Boolean,
        val bytes: List<Int>?,
    )

    /** A part of a word: its token, its code points, its neighbours; gone when it was joined to the one before it. */
    private class Part(
        var id: Int,
        val from: Int,
        var to: Int,
        var before: Int,
        var after: Int,
        var gone: Boolean = false,
    )

    private class Candidate(
        val rank: Int,
        val place: Int,
        val id: Int,
    )

    override fun tokenize(
        piece: Piece,
        out: TokenList,
    ) {
        val whole = if (settings.takesWholeWords) vocabulary.id(piece.points.asText()) else null
        if (whole != null) {
            out.add(whole, piece, 0, piece.size)
            return
        }
        val parts = parts(piece)
        join(parts)
        for (part in parts) if (!part.gone) out.add(part.id, piece, part.from, part.to)
    }

    /** A part for each code point; those in no vocabulary are unknown, spelled in bytes, or left out, as asked for. */
    private fun parts(piece: Piece): List<Part> {
        val made = ArrayList<Part>(piece.size)
        var lastUnknown = false
        for (place in 0 until piece.size) {
            val text = String(piece.points, place, 1)
            val known = vocabulary.id(text)
            val bytes = if (known == null) settings.bytes?.let { ids -> text.toByteArray().map { ids[it.toInt() and 0xff] } } else null
            val unknown = known == null && bytes == null
            if (unknown && lastUnknown && settings.fusesUnknown) {
                made.last().to = place + 1
                continue
            }
            val ids = bytes ?: listOfNotNull(known ?: settings.unknown)
            for (id in ids) made += Part(id, place, place + 1, made.size - 1, made.size + 1)
            lastUnknown = unknown && ids.isNotEmpty()
        }
        return made
    }

    private fun join(parts: List<Part>) {
        val waiting = PriorityQueue<Candidate>(compareBy({ it.rank }, { it.place }))

        fun offer(place: Int) {
            val after = parts.getOrNull(place)?.after ?: return
            if (after >= parts.size) return
            val merge = merges[pair(parts[place].id, parts[after].id)] ?: return
            waiting += Candidate(merge.rank, place, merge.id)
        }
        for (place in parts.indices) offer(place)
        while (true) {
            val best = waiting.poll() ?: return
            val part = parts[best.place]
            if (part.gone || part.after >= parts.size) continue
            val next = parts[part.after]
            if (merges[pair(part.id, next.id)]?.id != best.id) continue // one of the two was joined to another since
            part.id = best.id
            part.to = next.to
            part.after = next.after
            next.gone = true
            if (next.after < parts.size) parts[next.after].before = best.place
            offer(part.before)
            offer(best.place)
        }
    }

    companion object {
        fun of(json: JSONObject): BytePairs {
            for (name in listOf("dropout", "continuing_subword_prefix", "end_of_word_suffix")) {
                if (!json.isNull(name) && json.get(name) != "" && json.optDouble(name, 1.0) != 0.0) {
                    throw UnknownTokenizer("BPE with '$name' isn't known to this app")
                }
            }
            val vocabulary = Vocabulary.of(json.getJSONObject("vocab"))
            return BytePairs(vocabulary, merges(json.getJSONArray("merges"), vocabulary), settings(json, vocabulary))
        }

        private fun settings(
            json: JSONObject,
            vocabulary: Vocabulary,
        ): Settings {
            val unknown = if (json.isNull("unk_token")) null else vocabulary.id(json.getString("unk_token"))
            val bytes = List(256) { vocabulary.id(byteToken(it)) }
            return Settings(
                unknown,
                json.optBoolean("fuse_unk", false),
                json.optBoolean("ignore_merges", false),
                bytes.filterNotNull().takeIf { json.optBoolean("byte_fallback", false) && it.size == bytes.size },
            )
        }

        /** A merge is a list of two tokens, or in older files both in a string with a space between. */
        private fun merges(
            json: JSONArray,
            vocabulary: Vocabulary,
        ): Map<Long, Merge> {
            val made = HashMap<Long, Merge>(2 * json.length())
            for (rank in 0 until json.length()) {
                val (left, right) = (json.get(rank) as? JSONArray)?.strings() ?: json.getString(rank).split(" ")
                val ids = listOf(left, right, left + right).map { vocabulary.id(it) }
                if (null in ids) throw UnknownTokenizer("the merge of '$left' and '$right' isn't in the vocabulary")
                made[pair(ids[0]!!, ids[1]!!)] = Merge(rank, ids[2]!!)
            }
            return made
        }

        private fun pair(
            left: Int,
            right: Int,
        ): Long = left.toLong() shl 32 or right.toLong()
    }
}

/** What a byte is called in vocabularies that spell unknown characters in bytes. */
internal fun byteToken(byte: Int): String = "<0x%02X>".format(byte)
