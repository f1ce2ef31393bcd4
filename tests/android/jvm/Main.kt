package app.palmtop.engine

import app.palmtop.core.Answer
import app.palmtop.core.Encoded
import app.palmtop.core.Statistics
import app.palmtop.core.Tokenizer
import app.palmtop.core.Tokenizers
import app.palmtop.core.Truncation
import org.json.JSONArray
import org.json.JSONObject
import java.io.File

/**
 * What tests/android asks of core and engine on this machine: lines of JSON in, a line of JSON out for each.
 *
 *     tokens TOKENIZER.json    {"text": [...], "max_length": 24} -> ids, types, places, truncated
 *     answers APP_FOLDER       {"text": [...]} -> outputs as bits, answer, tokens
 *     golden APP_FOLDER        -> the report, one line
 *     benchmark APP_FOLDER     {"lengths": [...], "warm_up": 3, "runs": 50} -> length, n, p50, p90, p99 of each
 *     cascade APP_FOLDER       {"text": [...]} -> outputs, answer, which model gave it; before them the golden report
 *     statistics .             {"times": [...]} -> p50, p90, p99
 *
 * A model that is asked with "trusted": false doesn't trust itself.
 */
fun main(arguments: Array<String>) {
    val (command, path) = arguments
    val file = File(path)
    when (command) {
        "tokens" -> refusals { Tokenizers.fromJson(file.readText()) }?.let { tokenizer -> eachLine { tokens(tokenizer, it) } }
        "answers" -> opened(file) { model -> eachLine { answer(model, it) } }
        "golden" -> opened(file) { model -> println(golden(model)) }
        "benchmark" -> opened(file) { model -> eachLine { benchmark(model, it) } }
        "cascade" -> cascade(file)
        "statistics" -> eachLine(::statistics)
        else -> error("there is no command $command")
    }
}

/** What [made] makes; what it refuses goes out as a line. */
private fun <T> refusals(made: () -> T): T? =
    try {
        made()
    } catch (error: Exception) {
        println(JSONObject().put("refused", error.message).put("by", error.javaClass.simpleName))
        null
    }

private fun opened(
    folder: File,
    use: (TextModel) -> Unit,
) {
    refusals { TextModel(FolderFiles(folder)).also { it.checkFiles() } }?.use { model -> refusals { use(model) } }
}

private fun eachLine(answered: (JSONObject) -> JSONObject) {
    generateSequence(::readlnOrNull).forEach { println(refusals { answered(JSONObject(it)) } ?: return@forEach) }
}

private fun JSONObject.texts(): List<String> = getJSONArray("text").let { texts -> List(texts.length()) { texts.getString(it) } }

private fun tokens(
    tokenizer: Tokenizer,
    asked: JSONObject,
): JSONObject {
    val texts = asked.texts()
    val truncation = if (asked.optBoolean("only_second")) Truncation.ONLY_SECOND else Truncation.LONGEST_FIRST
    val encoded = tokenizer.encode(texts[0], texts.getOrNull(1), asked.getInt("max_length"), truncation)
    return JSONObject()
        .put("input_ids", JSONArray(encoded.ids.toList()))
        .put("token_type_ids", JSONArray(encoded.typeIds.toList()))
        .put("places", JSONArray(places(encoded, texts)))
        .put("truncated", encoded.truncated)
}

/** Places in code points, as Python counts them. */
private fun places(
    encoded: Encoded,
    texts: List<String>,
): List<JSONArray> =
    encoded.ids.indices.map { at ->
        val text = texts[maxOf(0, encoded.sequences[at])]
        JSONArray(listOf(encoded.begins[at], encoded.ends[at]).map(text::points))
    }

private fun answer(
    model: TextModel,
    asked: JSONObject,
): JSONObject {
    val texts = asked.texts()
    if (asked.optBoolean("trusted", true)) model.trust(model.manifest.digest)
    val timed = model.answer(texts[0], texts.getOrNull(1))
    val bits = model.outputs(model.encode(texts)).map { it.toRawBits() }
    return JSONObject().put("bits", JSONArray(bits)).put("tokens", timed.tokens).put("answer", told(timed.answer, texts.last()))
}

/** An answer with its places in code points of [text], as Python counts them. */
private fun told(
    answer: Answer,
    text: String,
): JSONObject =
    when (answer) {
        is Answer.Labels -> {
            JSONObject()
                .put("labels", JSONArray(answer.ranked.map { it.name }))
                .put("probabilities", JSONArray(answer.ranked.map { it.probability }))
                .put("given", JSONArray(answer.given.map { it.name }))
        }

        is Answer.Tags -> {
            JSONObject().put(
                "entities",
                JSONArray(
                    answer.entities.map {
                        JSONArray(listOf(it.label, it.text, text.points(it.begin), text.points(it.end)))
                    },
                ),
            )
        }

        is Answer.Span -> {
            JSONObject()
                .put("answer", answer.text)
                .put("begin", text.points(answer.begin))
                .put("end", text.points(answer.end))
                .put("score", answer.score)
        }

        is Answer.Number -> {
            JSONObject().put("number", answer.value)
        }
    }.put("truncated", answer.truncated)

private fun golden(model: TextModel): JSONObject = told(model.checkGolden(), model.trusted)

private fun told(
    report: GoldenReport,
    trusted: Boolean,
): JSONObject =
    JSONObject()
        .put("texts", report.texts)
        .put("other_tokens", report.otherTokens)
        .put("difference", report.difference.toString())
        .put("agreement", report.agreement)
        .put("fault", report.fault ?: JSONObject.NULL)
        .put("trusted", trusted)

private fun benchmark(
    model: TextModel,
    asked: JSONObject,
): JSONObject {
    val lengths = asked.getJSONArray("lengths").let { all -> List(all.length()) { all.getInt(it) } }
    if (asked.optBoolean("trusted", true)) model.trust(model.manifest.digest)
    val found = model.benchmark(lengths, asked.getInt("warm_up"), asked.getInt("runs"))
    val times = found.lengths.map { JSONArray(listOf(it.length, it.inference.n, it.inference.p50, it.inference.p90, it.inference.p99)) }
    return JSONObject().put("lengths", JSONArray(times)).put("tokenization", found.tokenization.p50)
}

/** Two models: the report of both together, then an answer for each line. */
private fun cascade(folder: File) {
    refusals { CascadeModel(FolderFiles(folder)).also { it.checkFiles() } }?.use { model ->
        println(told(model.checkGolden(), model.trusted))
        eachLine { asked ->
            val texts = asked.texts()
            val timed = model.answer(texts[0], texts.getOrNull(1))
            JSONObject()
                .put("outputs", JSONArray(model.outputs(texts).map { it.toDouble() }))
                .put("by_first", timed.byFirst)
                .put("tokens", timed.tokens)
                .put("answer", told(timed.answer, texts.last()))
        }
    }
}

private fun statistics(asked: JSONObject): JSONObject {
    val times = asked.getJSONArray("times").let { all -> DoubleArray(all.length()) { all.getDouble(it) } }
    val found = Statistics.of(times)
    return JSONObject().put("found", JSONArray(listOf(found.n, found.least, found.p50, found.p90, found.p99, found.most)))
}

private fun String.points(end: Int): Int = codePointCount(0, end)
