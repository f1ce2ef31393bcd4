package app.palmtop.core

import org.json.JSONArray
import org.json.JSONObject

/** Puts special tokens around the tokens of one text, or of two. */
internal interface PostProcessor {
    /** How many special tokens are added to one text, or to a [pair]. */
    fun added(pair: Boolean): Int

    /** Tokens of [text] with their characters as they are told in the end; some don't count the spaces at a token's ends. */
    fun trimmed(
        tokens: List<Token>,
        text: String,
    ): List<Token> = tokens

    fun assembled(
        first: List<Token>,
        second: List<Token>?,
    ): List<Placed>
}

/** A token in its place: its type, and the text it comes from ([Encoded.SPECIAL] for a special one). */
internal class Placed(
    val token: Token,
    val type: Int,
    val sequence: Int,
)

internal object PostProcessors {
    /** The post-processor that tokenizer.json describes; one that adds nothing for null. */
    fun of(
        json: JSONObject?,
        vocabulary: Lazy<Vocabulary>,
    ): PostProcessor =
        when (val type = json?.getString("type")) {
            null -> Template(parse(PLAIN), parse(PLAIN_PAIR), emptyMap())
            "TemplateProcessing" -> Template.of(json)
            "BertProcessing" -> bert(json)
            "RobertaProcessing" -> roberta(json, vocabulary)
            "ByteLevel" -> of(null, vocabulary).let { plain -> if (trims(json)) Trimming(plain, json, vocabulary) else plain }
            "Sequence" -> sequence(json.getJSONArray("processors").objects(), vocabulary)
            else -> throw UnknownTokenizer("the post-processor '$type' isn't known to this app")
        }

    /** Of several steps, the template and what trims go together; nothing else is known to come in one. */
    private fun sequence(
        steps: List<JSONObject>,
        vocabulary: Lazy<Vocabulary>,
    ): PostProcessor {
        val (byteLevel, others) = steps.partition { it.getString("type") == "ByteLevel" }
        if (others.size > 1) throw UnknownTokenizer("a post-processor 'Sequence' of ${others.size} templates isn't known to this app")
        val template = of(others.firstOrNull(), vocabulary)
        return byteLevel.filter(::trims).fold(template) { inner, step -> Trimming(inner, step, vocabulary) }
    }

    private fun bert(json: JSONObject): PostProcessor {
        val ends = mapOf("sep" to listOf(json.getJSONArray("sep").getInt(1)), "cls" to listOf(json.getJSONArray("cls").getInt(1)))
        return Template(parse("cls:0 A:0 sep:0"), parse("cls:0 A:0 sep:0 B:1 sep:1"), ends)
    }

    private fun roberta(
        json: JSONObject,
        vocabulary: Lazy<Vocabulary>,
    ): PostProcessor {
        val ends = mapOf("sep" to listOf(json.getJSONArray("sep").getInt(1)), "cls" to listOf(json.getJSONArray("cls").getInt(1)))
        val template = Template(parse("cls:0 A:0 sep:0"), parse("cls:0 A:0 sep:0 sep:0 B:0 sep:0"), ends)
        return if (trims(json)) Trimming(template, json, vocabulary) else template
    }

    private fun trims(json: JSONObject) = json.optBoolean("trim_offsets", true)

    private fun parse(words: String): List<Slot> = words.split(" ").map { it.split(":").let { (name, type) -> Slot(name, type.toInt()) } }

    private const val PLAIN = "A:0"
    private const val PLAIN_PAIR = "A:0 B:1"
}

/** A place in a template: a text (A or B), or a special token. */
internal class Slot(
    val name: String,
    val type: Int,
) {
    val sequence: Int
        get() =
            when (name) {
                "A" -> 0
                "B" -> 1
                else -> Encoded.SPECIAL
            }
}

/** Texts and special tokens in the order of a template. */
internal class Template(
    private val single: List<Slot>,
    private val pair: List<Slot>,
    private val specials: Map<String, List<Int>>,
) : PostProcessor {
    override fun added(pair: Boolean): Int =
        (if (pair) this.pair else single).filter { it.sequence == Encoded.SPECIAL }.sumOf { ids(it).size }

    override fun assembled(
        first: List<Token>,
        second: List<Token>?,
    ): List<Placed> =
        (if (second == null) single else pair).flatMap { slot ->
            val tokens =
                when (slot.sequence) {
                    0 -> first
                    1 -> second.orEmpty()
                    else -> ids(slot).map { Token(it, 0, 0) }
                }
            tokens.map { Placed(it, slot.type, slot.sequence) }
        }

    private fun ids(slot: Slot): List<Int> =
        specials[slot.name] ?: throw UnknownTokenizer("the template names '${slot.name}', which isn't among its special tokens")

    companion object {
        fun of(json: JSONObject): Template {
            val specials = json.getJSONObject("special_tokens")
            val ids = specials.keySequence().associateWith { specials.getJSONObject(it).getJSONArray("ids") }
            return Template(
                slots(json.getJSONArray("single")),
                slots(json.getJSONArray("pair")),
                ids.mapValues { (_, of) -> (0 until of.length()).map(of::getInt) },
            )
        }

        private fun slots(json: JSONArray): List<Slot> =
            json.objects().map { piece ->
                val kind = piece.keys().next()
                val slot = piece.getJSONObject(kind)
                val name = slot.getString("id")
                // a special token may be called A too
                Slot(if (kind == "Sequence") name else "$SPECIAL_MARK$name".takeIf { name in TEXTS } ?: name, slot.getInt("type_id"))
            }

        private val TEXTS = setOf("A", "B")
        private const val SPECIAL_MARK = "special "
    }
}

/** Takes the spaces at the ends of byte-level tokens out of their characters. */
internal class Trimming(
    private val inner: PostProcessor,
    json: JSONObject,
    vocabulary: Lazy<Vocabulary>,
) : PostProcessor {
    private val names = vocabulary.value
    private val prefix = json.optBoolean("add_prefix_space", true)

    override fun added(pair: Boolean): Int = inner.added(pair)

    override fun trimmed(
        tokens: List<Token>,
        text: String,
    ): List<Token> =
        inner.trimmed(tokens, text).mapIndexed { place, token ->
            val points = (token.written ?: names.name(token.id)).orEmpty().toCodePoints()
            val leading = points.takeWhile(::isSpace).size
            val trailing = points.reversed().takeWhile(::isSpace).size
            // the space that was put in front of the text isn't one of the text's
            val own = if (leading > 0 && prefix && (place == 0 || token.begin == 0)) leading - 1 else leading
            val begin = after(text, token.begin, token.end, own)
            Token(token.id, begin, before(text, token.end, begin, trailing), token.written)
        }

    /** The place some code points after [from], at most [limit]. */
    private fun after(
        text: String,
        from: Int,
        limit: Int,
        count: Int,
    ): Int {
        var place = from
        repeat(count) { if (place < limit) place += Character.charCount(text.codePointAt(place)) }
        return place
    }

    /** The place some code points before [from], at least [limit]; [from] where there are fewer in all. */
    private fun before(
        text: String,
        from: Int,
        limit: Int,
        count: Int,
    ): Int {
        if (text.codePointCount(0, from) < count) return from
        var place = from
        repeat(count) { if (place > limit) place -= Character.charCount(text.codePointBefore(place)) }
        return place
    }

    override fun assembled(
        first: List<Token>,
        second: List<Token>?,
    ): List<Placed> = inner.assembled(first, second)

    private fun isSpace(point: Int) = point == ByteLevel.CHARACTERS[SPACE] || point in Unicode.whitespace
}
