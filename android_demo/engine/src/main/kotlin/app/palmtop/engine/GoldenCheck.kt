package app.palmtop.engine

import app.palmtop.core.DamagedModel
import app.palmtop.core.Encoded
import app.palmtop.core.GoldenRow
import app.palmtop.core.Manifest
import app.palmtop.core.Parity
import app.palmtop.core.Reader
import java.util.Locale

/** Compares what is answered here with what was recorded, as `palmtop verify` does. */
internal class GoldenCheck(
    private val manifest: Manifest,
    private val reader: Reader,
    /** What signature.json says of the outputs. */
    private val output: String,
    private val labels: Int,
) {
    /** @param outputs of every row, as [Reader.kept] gives them. */
    fun report(
        rows: List<GoldenRow>,
        encoded: List<Encoded>,
        outputs: List<FloatArray>,
    ): GoldenReport {
        val other =
            rows.zip(encoded).count { (row, made) -> !(row.ids contentEquals made.ids && row.typeIds contentEquals made.typeIds) }
        val parity = parity(rows, outputs)
        return GoldenReport(
            rows.size,
            other,
            parity.difference,
            parity.typical,
            parity.agreement,
            fault(rows, other, parity) ?: wrongWords(rows, encoded),
        )
    }

    private fun parity(
        rows: List<GoldenRow>,
        outputs: List<FloatArray>,
    ): Parity {
        val comparable = rows.indices.all { rows[it].outputs.size == outputs[it].size }
        return if (comparable) {
            Parity.of(rows.map { it.outputs }, outputs, manifest.kind, output, labels)
        } else {
            Parity(Double.NaN, Double.NaN, 0.0)
        }
    }

    private fun fault(
        rows: List<GoldenRow>,
        other: Int,
        parity: Parity,
    ): String? =
        when {
            other > 0 -> {
                "the tokenizer gives other ids than recorded for $other of ${rows.size} golden texts"
            }

            !parity.within(manifest.tolerance) -> {
                "the model answers otherwise than recorded: its outputs differ by ${parity.difference} of their spread " +
                    "(${manifest.tolerance.difference} is allowed), ${percent(parity.agreement)} of ${rows.size} answers agree " +
                    "(at least ${percent(manifest.tolerance.agreement)})"
            }

            else -> {
                null
            }
        }

    /** Whether labels, words and spans are made of the recorded outputs as they were: it is found out by wrong labels.txt. */
    private fun wrongWords(
        rows: List<GoldenRow>,
        encoded: List<Encoded>,
    ): String? {
        val wrong =
            rows.zip(encoded).count { (row, made) ->
                reader.said(row.outputs, made, row.texts[0], row.texts.getOrNull(1)) != row.answer
            }
        return if (wrong > 0) "$wrong of ${rows.size} golden answers are told in other words than recorded" else null
    }

    companion object {
        /** @throws DamagedModel there are none, or fewer than the manifest says. */
        fun rows(
            files: ModelFiles,
            manifest: Manifest,
        ): List<GoldenRow> {
            val rows = files.open(GoldenRow.FILE).bufferedReader().useLines(GoldenRow::fromLines)
            val least = maxOf(1, manifest.goldenTexts ?: 1)
            if (rows.size < least) throw DamagedModel("${GoldenRow.FILE} has ${rows.size} answers, and should have $least")
            return rows
        }

        private fun percent(share: Double): String = "%.0f %%".format(Locale.ROOT, 100 * share)
    }
}
