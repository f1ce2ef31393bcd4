package app.palmtop.core

import org.json.JSONArray
import org.json.JSONException
import org.json.JSONObject

/** signature.json: what a model file takes and gives. */
public class Signature(
    /** Names among input_ids, attention_mask and token_type_ids. */
    public val inputs: List<String>,
    /** What it answers with: logits, probabilities, label_probabilities, token_logits or spans. */
    public val output: String,
    /** The token counts that the file takes, ascending; null where any up to [maxLength] will do. */
    public val lengths: List<Int>?,
    /** Longest text in tokens, special ones in. */
    public val maxLength: Int,
    /** The id that fills a text up to a length. */
    public val padId: Int,
    /** Probabilities from which on each label is given; null where a text has one label. */
    public val thresholds: List<Double>?,
    /** A question has no answer where the logits of [CLS] are above the best span's by more than this; null: it always has one. */
    public val nullThreshold: Double? = null,
) {
    /** The length at which a text of [tokens] tokens is run. */
    public fun lengthFor(tokens: Int): Int = lengths?.let { known -> known.find { it >= tokens } ?: known.last() } ?: tokens

    public companion object {
        /** Its name in an app's folder. */
        public const val FILE: String = "signature.json"

        /** @throws DamagedModel [json] is no signature of a model that answers a text whole. */
        public fun fromJson(json: String): Signature =
            try {
                read(JSONObject(json))
            } catch (error: JSONException) {
                throw DamagedModel("$FILE is damaged: ${error.message}")
            }

        private fun read(json: JSONObject): Signature {
            val inputs = json.getJSONArray("inputs").strings()
            if (inputs.isEmpty()) throw DamagedModel("the model has no graph that answers a text whole")
            if (!json.isNull("stride")) throw DamagedModel("the model reads a context in several windows, which this code doesn't do")
            return Signature(
                inputs,
                json.optString("output", "logits"),
                json.optJSONArray("lengths")?.numbers { getInt(it) },
                json.getInt("max_length"),
                json.getInt("pad_id"),
                json.optJSONArray("thresholds")?.numbers { getDouble(it) },
                if (json.isNull("null_threshold")) null else json.getDouble("null_threshold"),
            )
        }
    }
}

internal fun <T> JSONArray.numbers(read: JSONArray.(Int) -> T): List<T> = (0 until length()).map { read(it) }
