package app.palmtop.core

import org.json.JSONException
import org.json.JSONObject
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.max

/**
 * How two models share the texts: the first is asked each, the second those of which the first isn't sure. The arithmetic is
 * that of palmtop/cascade.py, in double precision.
 */
public class Cascade(
    /** The folder of the model that is asked every text. */
    public val first: String,
    /** The folder of the other. */
    public val second: String,
    /** What the first's logits are divided by before the softmax. */
    public val temperature: Double,
    /** Largest probability, so calibrated, from which on the first's answer stands. */
    public val threshold: Double,
) {
    /** The first's probabilities, calibrated. */
    public fun calibrated(
        outputs: FloatArray,
        output: String,
    ): DoubleArray = probabilities(outputs, output, temperature)

    /** Whether the first's answer stands. */
    public fun isSure(calibrated: DoubleArray): Boolean = calibrated.max() >= threshold

    public companion object {
        private const val LEAST = 1e-12

        /**
         * softmax of a model's logits, divided by [temperature]; of its own probabilities the logarithms stand for logits.
         *
         * @param output what its signature says of [outputs].
         */
        public fun probabilities(
            outputs: FloatArray,
            output: String,
            temperature: Double = 1.0,
        ): DoubleArray {
            val logits = outputs.map { if (output == "probabilities") ln(max(it.toDouble(), LEAST)) else it.toDouble() }
            val most = logits.max()
            val powers = logits.map { exp((it - most) / temperature) }
            val sum = powers.sum()
            return DoubleArray(powers.size) { powers[it] / sum }
        }

        /** @throws DamagedModel [json] is no signature of two models. */
        public fun fromJson(json: String): Cascade =
            try {
                val said = JSONObject(json).getJSONObject("cascade")
                Cascade(said.getString("first"), said.getString("second"), said.getDouble("temperature"), said.getDouble("threshold"))
            } catch (error: JSONException) {
                throw DamagedModel("${Signature.FILE} is damaged: ${error.message}")
            }
    }
}
