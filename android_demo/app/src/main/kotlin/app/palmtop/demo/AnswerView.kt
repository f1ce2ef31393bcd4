package app.palmtop.demo

import android.content.Context
import android.text.Editable
import android.text.Spanned
import android.text.style.BackgroundColorSpan
import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.ProgressBar
import android.widget.TextView
import app.palmtop.core.Answer
import app.palmtop.core.Label
import java.text.NumberFormat

/** Draws answers: bars for labels, marks in the text for tags and spans, and both in words. */
class AnswerView(
    private val context: Context,
    private val rows: ViewGroup,
) {
    private val inflater = LayoutInflater.from(context)
    private val colours =
        context.resources.obtainTypedArray(R.array.marks).let { array ->
            IntArray(array.length()) { array.getColor(it, 0) }.also { array.recycle() }
        }

    /** The answer in a sentence, which TalkBack reads when it changes. */
    fun sentence(answer: Answer): String {
        val said = context.getString(R.string.answer_is, words(answer))
        return if (answer.truncated) said + "\n" + context.getString(R.string.truncated) else said
    }

    /**
     * Show an answer.
     *
     * @param marked the text in which it is marked: the one that was asked, or its context.
     */
    fun show(
        answer: Answer,
        marked: Editable,
    ) {
        clear(marked)
        when (answer) {
            is Answer.Labels -> answer.ranked.take(MOST_BARS).forEach { bar(it, answer.several) }
            is Answer.Tags -> tags(answer, marked)
            is Answer.Span -> mark(marked, answer.begin, answer.end, colours[0])
            is Answer.Number -> Unit // the sentence says it
        }
    }

    /** Take the last answer away. */
    fun clear(vararg marked: Editable) {
        rows.removeAllViews()
        for (text in marked) {
            text
                .getSpans(0, text.length, BackgroundColorSpan::class.java)
                .filter { text.getSpanFlags(it) and Spanned.SPAN_COMPOSING == 0 } // keyboards mark what is being written
                .forEach(text::removeSpan)
        }
    }

    private fun words(answer: Answer): String =
        when (answer) {
            is Answer.Labels -> answer.given.joinToString { it.name }.ifEmpty { context.getString(R.string.no_label) }
            is Answer.Tags -> answer.entities.joinToString { entity(it.label, it.text) }.ifEmpty { context.getString(R.string.no_entity) }
            is Answer.Span -> answer.text.ifEmpty { context.getString(R.string.no_span) }
            is Answer.Number -> number(answer.value, DIGITS_OF_VALUE)
        }

    private fun bar(
        label: Label,
        several: Boolean,
    ) {
        val row = inflater.inflate(R.layout.row_label, rows, false)
        val percent = number(label.probability * 100, 1)
        row.view<TextView>(R.id.name).text = label.name
        row.view<TextView>(R.id.share).text = context.getString(R.string.percent, percent)
        row.view<ProgressBar>(R.id.bar).progress = (label.probability * FULL_BAR).toInt()
        val spoken = if (several && label.given) R.string.label_given_spoken else R.string.label_spoken
        row.contentDescription = context.getString(spoken, label.name, percent)
        rows.addView(row)
    }

    private fun tags(
        answer: Answer.Tags,
        marked: Editable,
    ) {
        val kinds = answer.entities.map { it.label }.distinct()
        for (found in answer.entities) {
            val colour = colours[kinds.indexOf(found.label) % colours.size]
            mark(marked, found.begin, found.end, colour)
            val row = inflater.inflate(R.layout.row_entity, rows, false) as TextView
            row.text = entity(found.label, found.text)
            row.setBackgroundColor(colour)
            rows.addView(row)
        }
    }

    private fun mark(
        text: Editable,
        begin: Int,
        end: Int,
        colour: Int,
    ) {
        if (begin < end && end <= text.length) {
            text.setSpan(BackgroundColorSpan(colour), begin, end, Spanned.SPAN_EXCLUSIVE_EXCLUSIVE)
        }
    }

    private fun entity(
        label: String,
        text: String,
    ): String = context.getString(R.string.entity, label, text)

    companion object {
        private const val MOST_BARS = 5
        private const val FULL_BAR = 1000
        private const val DIGITS_OF_VALUE = 3

        /** A number as people here write it, with so many digits after the point. */
        fun number(
            value: Double,
            digits: Int,
        ): String =
            NumberFormat
                .getNumberInstance()
                .apply {
                    minimumFractionDigits = digits
                    maximumFractionDigits = digits
                }.format(value)

        /** Show a view, or leave no room for it. */
        fun present(
            view: View,
            wanted: Boolean,
        ) {
            view.visibility = if (wanted) View.VISIBLE else View.GONE
        }
    }
}
