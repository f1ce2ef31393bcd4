package app.palmtop.core

import org.json.JSONException
import org.json.JSONObject

/** A line of golden.jsonl: a text, what a tokenizer has to make of it, and what the model answered where it was made. */
public class GoldenRow(
    /** One text, or two. */
    public val texts: List<String>,
    public val ids: IntArray,
    public val typeIds: IntArray,
    /** As [Reader.kept] gives them. */
    public val outputs: FloatArray,
    /** What it says in words; null of a number. */
    public val answer: String?,
) {
    public companion object {
        /** Its file in an app's folder. */
        public const val FILE: String = "golden.jsonl"

        /** @throws DamagedModel a line isn't one. */
        public fun fromLines(lines: Sequence<String>): List<GoldenRow> =
            lines
                .filter { it.isNotEmpty() }
                .map { line ->
                    try {
                        read(JSONObject(line))
                    } catch (error: JSONException) {
                        throw DamagedModel("$FILE is damaged: ${error.message}")
                    }
                }.toList()

        private fun read(json: JSONObject) =
            GoldenRow(
                json.getJSONArray("text").strings(),
                json.getJSONArray("input_ids").numbers { getInt(it) }.toIntArray(),
                json.getJSONArray("token_type_ids").numbers { getInt(it) }.toIntArray(),
                json.getJSONArray("outputs").numbers { getDouble(it).toFloat() }.toFloatArray(),
                if (json.isNull("answer")) null else json.getString("answer"),
            )
    }
}
