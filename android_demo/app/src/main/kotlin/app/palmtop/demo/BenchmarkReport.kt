package app.palmtop.demo

import app.palmtop.core.Statistics
import app.palmtop.engine.BenchmarkResult
import org.json.JSONArray
import org.json.JSONObject
import java.text.SimpleDateFormat
import java.util.Date
import java.util.Locale
import java.util.TimeZone
import java.util.UUID

/** How hot the device was, as [Phone.heat] gives it. */
class Heat(
    val before: Int,
    val after: Int,
) {
    /** Whether the device slowed itself down, so that the numbers say nothing of the model. */
    val tooHot: Boolean get() = maxOf(before, after) >= Phone.TOO_HOT
}

/** What a benchmark is of. */
class Measured(
    /** The model's folder in the assets: the bundle's name. */
    val folder: String,
    /** Its manifest.json as it lies there. */
    val manifest: JSONObject,
    /** Version of LiteRT. */
    val litert: String,
)

/**
 * The numbers as JSON that `palmtop compare FILE.json` reads.
 *
 * palmtop/eval/reports/phone_file.py is the other side; a field here is a field there.
 */
fun benchmarkJson(
    measured: Measured,
    phone: JSONObject,
    result: BenchmarkResult,
    heat: Heat,
): JSONObject =
    JSONObject()
        .put("palmtop_phone", 1)
        .put("model", model(measured))
        .put("phone", phone)
        .put("litert", measured.litert)
        .put("threads", result.threads)
        .put("warm_up", result.warmUp)
        .put("heat", JSONObject().put("before", Phone.heatWord(heat.before)).put("after", Phone.heatWord(heat.after)))
        .put("session", UUID.randomUUID().toString())
        .put("date", now())
        .put("lengths", JSONArray(result.lengths.map { times(it.inference).put("tokens", it.length) }))
        .put("tokenization", times(result.tokenization))

private fun model(measured: Measured): JSONObject {
    val lineage = measured.manifest.getJSONArray("lineage")
    return JSONObject()
        .put("name", measured.folder)
        .put("digest", lineage.getJSONObject(lineage.length() - 1).getString("digest"))
        .put("format", measured.manifest.getString("format"))
        .put("precision", measured.manifest.getString("precision"))
        .put("task", measured.manifest.getString("task"))
        .put(
            "bytes",
            measured.manifest
                .getJSONObject("files")
                .getJSONObject("model.tflite")
                .getLong("size_bytes"),
        )
}

private fun times(found: Statistics): JSONObject =
    JSONObject()
        .put("n", found.n)
        .put("p50_ms", found.p50)
        .put("p90_ms", found.p90)
        .put("p99_ms", found.p99)

private fun now(): String =
    SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ss'+00:00'", Locale.ROOT).run {
        timeZone = TimeZone.getTimeZone("UTC")
        format(Date())
    }
