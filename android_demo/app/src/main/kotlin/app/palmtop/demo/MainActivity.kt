package app.palmtop.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.text.Editable
import android.text.TextWatcher
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.EditText
import android.widget.Spinner
import android.widget.TextView
import app.palmtop.core.Kind
import app.palmtop.core.Manifest

/** Choose a model, write, see its answer as you type. */
@Suppress("DEPRECATION", "OVERRIDE_DEPRECATION") // of retaining, by which a worker outlives a turn of the screen
class MainActivity : Activity() {
    private lateinit var answerer: Answerer
    private lateinit var answers: AnswerView
    private lateinit var names: List<String>
    private val text: EditText by lazy { view(R.id.text) }
    private val pair: EditText by lazy { view(R.id.pair) }
    private val status: TextView by lazy { view(R.id.status) }
    private val times: TextView by lazy { view(R.id.times) }
    private val watcher = OnChange(::ask)

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_main)
        val models = BundledModels(applicationContext.assets)
        names = models.names()
        // getLastNonConfigurationInstance is there after a turn of the screen: the model stays open, the answer stays
        answerer = lastNonConfigurationInstance as? Answerer ?: Answerer(models, Trust(applicationContext))
        answers = AnswerView(this, view(R.id.rows))
        view<Button>(R.id.benchmark).setOnClickListener { openBenchmark() }
        if (names.isEmpty()) {
            status.setText(R.string.no_models)
            view<View>(R.id.benchmark).isEnabled = false
            return
        }
        showModels(savedInstanceState?.getString(MODEL) ?: answerer.name ?: names.first())
    }

    override fun onResume() {
        super.onResume() // what was written before the screen turned is in the fields by now
        if (names.isEmpty()) return
        answerer.listener = ::show
        text.addTextChangedListener(watcher)
        pair.addTextChangedListener(watcher)
        show(answerer.state)
    }

    override fun onPause() {
        answerer.listener = null
        text.removeTextChangedListener(watcher)
        pair.removeTextChangedListener(watcher)
        super.onPause()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState) // the texts are in it: views with an id keep what was written
        outState.putString(MODEL, answerer.name)
    }

    override fun onRetainNonConfigurationInstance(): Any = answerer

    override fun onDestroy() {
        if (!isChangingConfigurations) answerer.close()
        super.onDestroy()
    }

    private fun showModels(chosen: String) {
        val spinner = view<Spinner>(R.id.model)
        val adapter = ArrayAdapter(this, android.R.layout.simple_spinner_item, names)
        adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
        spinner.adapter = adapter
        spinner.setSelection(names.indexOf(chosen).coerceAtLeast(0))
        spinner.onItemSelectedListener = OnChosen { answerer.open(names[it]) }
    }

    private fun ask() {
        val two = answerer.state.manifest?.texts == 2
        answerer.ask(text.text.toString(), if (two) pair.text.toString() else null)
    }

    private fun show(state: State) {
        state.manifest?.let(::showQuestion)
        view<View>(R.id.benchmark).isEnabled = state is State.Ready || state is State.Answered || state is State.Failed
        if (state is State.Answered) {
            showAnswer(state)
            return
        }
        answers.clear(text.text, pair.text)
        times.text = null
        status.text =
            when (state) {
                is State.Opening -> getString(R.string.opening)
                is State.Checking -> getString(R.string.checking)
                is State.Refused -> getString(R.string.refused, state.why)
                is State.Failed -> getString(R.string.no_answer, state.why)
                else -> getString(R.string.ready)
            }
        // what was written before the model was open is asked now
        if (state is State.Ready && text.text.isNotBlank()) ask()
    }

    private fun showAnswer(state: State.Answered) {
        // while a newer text is waited for, an older answer's places don't fit it
        val asked = text.text.toString() == state.text && (state.pair == null || pair.text.toString() == state.pair)
        if (!asked) {
            ask()
            return
        }
        status.text = answers.sentence(state.timed.answer)
        val other = if (state.manifest.kind == Kind.QUESTION_ANSWERING) pair else text
        answers.clear(text.text, pair.text)
        answers.show(state.timed.answer, other.text)
        times.text =
            getString(
                R.string.times,
                state.timed.tokens,
                AnswerView.number(state.timed.tokenizationMs, 2),
                AnswerView.number(state.timed.inferenceMs, 2),
            )
    }

    private fun showQuestion(manifest: Manifest) {
        view<TextView>(R.id.about).text = manifest.description
        val questions = manifest.kind == Kind.QUESTION_ANSWERING
        val two = manifest.texts == 2
        view<TextView>(R.id.text_caption).setText(
            if (questions) {
                R.string.question
            } else if (two) {
                R.string.first_text
            } else {
                R.string.text
            },
        )
        val caption = view<TextView>(R.id.pair_caption)
        caption.setText(if (questions) R.string.context else R.string.second_text)
        AnswerView.present(caption, two)
        AnswerView.present(pair, two)
    }

    private fun openBenchmark() {
        startActivity(Intent(this, BenchmarkActivity::class.java).putExtra(BenchmarkActivity.MODEL, answerer.name))
    }

    private companion object {
        const val MODEL = "model"
    }
}

/** Hears that a text has changed. */
private class OnChange(
    private val heard: () -> Unit,
) : TextWatcher {
    override fun beforeTextChanged(
        text: CharSequence?,
        start: Int,
        count: Int,
        after: Int,
    ) = Unit

    override fun onTextChanged(
        text: CharSequence?,
        start: Int,
        before: Int,
        count: Int,
    ) = Unit

    override fun afterTextChanged(text: Editable?) = heard()
}

/** Hears which of a list was chosen. */
private class OnChosen(
    private val heard: (Int) -> Unit,
) : AdapterView.OnItemSelectedListener {
    override fun onItemSelected(
        list: AdapterView<*>?,
        view: View?,
        place: Int,
        id: Long,
    ) = heard(place)

    override fun onNothingSelected(list: AdapterView<*>?) = Unit
}
