package app.palmtop.demo

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.WindowManager
import android.widget.Button
import android.widget.EditText
import android.widget.Spinner
import android.widget.TextView
import app.palmtop.core.Statistics

/** Measures the chosen model on this device, and shares the numbers. */
@Suppress("DEPRECATION", "OVERRIDE_DEPRECATION") // of retaining, by which a worker outlives a turn of the screen
class BenchmarkActivity : Activity() {
    private lateinit var benchmarker: Benchmarker
    private lateinit var folder: String
    private val start: Button by lazy { view(R.id.start) }
    private val share: Button by lazy { view(R.id.share) }
    private val status: TextView by lazy { view(R.id.status) }
    private val results: TextView by lazy { view(R.id.results) }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_benchmark)
        folder = intent.getStringExtra(MODEL) ?: BundledModels(applicationContext.assets).names().first()
        benchmarker = lastNonConfigurationInstance as? Benchmarker ?: newBenchmarker()
        view<TextView>(R.id.title).text = getString(R.string.benchmark_of, folder)
        start.setOnClickListener { if (benchmarker.progress is Progress.Running) benchmarker.stop() else begin() }
        share.setOnClickListener { (benchmarker.progress as? Progress.Done)?.let(::send) }
    }

    override fun onStart() {
        super.onStart()
        benchmarker.listener = ::show
        show(benchmarker.progress)
    }

    override fun onStop() {
        benchmarker.listener = null
        super.onStop()
    }

    override fun onRetainNonConfigurationInstance(): Any = benchmarker

    override fun onDestroy() {
        if (!isChangingConfigurations) benchmarker.close()
        super.onDestroy()
    }

    private fun newBenchmarker(): Benchmarker =
        Benchmarker(
            BundledModels(applicationContext.assets),
            Trust(applicationContext),
            Phone(applicationContext),
            getString(R.string.litert_version),
        )

    private fun begin() {
        val lengths = numbers(R.id.lengths)
        val runs = numbers(R.id.runs).singleOrNull()
        if (lengths.isEmpty() || lengths.any { it !in SHORTEST..LONGEST } || runs == null || runs !in FEWEST_RUNS..MOST_RUNS) {
            status.text = getString(R.string.wrong_numbers, LONGEST)
            return
        }
        val threads = view<Spinner>(R.id.threads).selectedItem.toString().toInt()
        benchmarker.start(Wish(folder, threads, lengths, runs))
    }

    private fun numbers(field: Int): List<Int> =
        view<EditText>(field)
            .text
            .split(' ')
            .mapNotNull(String::toIntOrNull)
            .distinct()
            .sorted()

    private fun show(progress: Progress) {
        val running = progress is Progress.Running
        start.setText(if (running) R.string.stop else R.string.start)
        share.isEnabled = progress is Progress.Done
        // a screen that goes dark lets the processor sleep
        if (running) {
            window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        } else {
            window.clearFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        }
        status.text = said(progress)
        results.text = (progress as? Progress.Done)?.let(::table)
    }

    private fun said(progress: Progress): String =
        when (progress) {
            is Progress.Idle -> {
                if (progress.stopped) getString(R.string.benchmark_stopped) else ""
            }

            is Progress.Running -> {
                getString(R.string.benchmark_running, progress.done, progress.of)
            }

            is Progress.Refused -> {
                getString(R.string.refused, progress.why)
            }

            is Progress.Done -> {
                val words = resources.getStringArray(R.array.heat)
                val sentence = if (progress.heat.tooHot) R.string.benchmark_hot else R.string.benchmark_done
                getString(sentence, words[progress.heat.before + 1], words[progress.heat.after + 1])
            }
        }

    private fun table(done: Progress.Done): String {
        val lines =
            done.result.lengths.map {
                getString(
                    R.string.benchmark_length,
                    it.length,
                    ms(it.inference.p50),
                    ms(it.inference.p90),
                    ms(it.inference.p99),
                    it.inference.n,
                )
            }
        val tokenization: Statistics = done.result.tokenization
        val last =
            getString(R.string.benchmark_tokenization, ms(tokenization.p50), ms(tokenization.p90), ms(tokenization.p99), tokenization.n)
        return (lines + last).joinToString("\n")
    }

    private fun ms(value: Double): String = AnswerView.number(value, 2)

    private fun send(done: Progress.Done) {
        val sent =
            Intent(Intent.ACTION_SEND)
                .setType("text/plain") // what mail and notes take
                .putExtra(Intent.EXTRA_SUBJECT, "$folder.json")
                .putExtra(Intent.EXTRA_TEXT, done.json)
        startActivity(Intent.createChooser(sent, getString(R.string.share)))
    }

    companion object {
        /** The extra with the model's folder. */
        const val MODEL = "app.palmtop.demo.MODEL"
        private const val SHORTEST = 4
        private const val LONGEST = 512
        private const val FEWEST_RUNS = 50
        private const val MOST_RUNS = 10_000
    }
}
