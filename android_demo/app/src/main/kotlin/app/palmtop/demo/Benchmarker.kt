package app.palmtop.demo

import android.os.Handler
import android.os.Looper
import app.palmtop.core.DamagedModel
import app.palmtop.core.Manifest
import app.palmtop.engine.BenchmarkResult
import app.palmtop.engine.TextModel
import org.json.JSONObject
import java.io.IOException
import java.util.concurrent.Executors

/** What the benchmark's screen has to show. */
sealed interface Progress {
    /** Nothing was started, or it was stopped. */
    class Idle(
        val stopped: Boolean,
    ) : Progress

    /** So many lengths are done. */
    class Running(
        val done: Int,
        val of: Int,
    ) : Progress

    /** The model may not be measured, because it answers otherwise here; [why] is in English. */
    class Refused(
        val why: String,
    ) : Progress

    /** All numbers, and the JSON to share. */
    class Done(
        val result: BenchmarkResult,
        val heat: Heat,
        val json: String,
    ) : Progress
}

/** What to measure. */
class Wish(
    val folder: String,
    val threads: Int,
    val lengths: List<Int>,
    val runs: Int,
)

/** Measures off the main thread, one benchmark at a time; outlives the activity when the screen turns. It tells on the main thread. */
class Benchmarker(
    private val models: BundledModels,
    private val trust: Trust,
    private val phone: Phone,
    private val litert: String,
) {
    private val worker = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())

    @Volatile
    private var stopped = false

    /** What there is to show. */
    var progress: Progress = Progress.Idle(false)
        private set

    /** Who is told of new [progress]. */
    var listener: ((Progress) -> Unit)? = null

    /** Begin; only when nothing runs. */
    fun start(wish: Wish) {
        stopped = false
        show(Progress.Running(0, wish.lengths.size))
        worker.execute {
            val ended = measure(wish)
            main.post { show(ended) }
        }
    }

    /** End after the length that is being measured; nothing is kept. */
    fun stop() {
        stopped = true
    }

    /** Stop for good. */
    fun close() {
        listener = null
        stop()
        worker.shutdown()
    }

    private fun show(next: Progress) {
        progress = next
        listener?.invoke(next)
    }

    private fun measure(wish: Wish): Progress =
        try {
            TextModel(models.files(wish.folder), wish.threads).use { model ->
                val fault = trust.establish(model) {}?.fault
                if (fault == null) timed(model, wish) else Progress.Refused(fault)
            }
        } catch (error: DamagedModel) {
            Progress.Refused(error.message.orEmpty())
        } catch (error: IllegalArgumentException) {
            // a tokenizer that isn't known, or LiteRT doesn't take the file
            Progress.Refused(error.message.orEmpty())
        } catch (error: IOException) {
            Progress.Refused(error.message.orEmpty())
        }

    private fun timed(
        model: TextModel,
        wish: Wish,
    ): Progress {
        val lengths = wish.lengths.filter { it <= model.maxLength }.ifEmpty { listOf(model.maxLength) }
        val before = phone.heat()
        val result =
            model.benchmark(lengths, WARM_UP, wish.runs) { done ->
                main.post { if (!stopped) show(Progress.Running(done, lengths.size)) }
                !stopped
            }
        if (stopped) return Progress.Idle(true)
        val heat = Heat(before, phone.heat())
        val manifest = models.files(wish.folder).open(Manifest.FILE).use { JSONObject(it.readBytes().decodeToString()) }
        val json = benchmarkJson(Measured(wish.folder, manifest, litert), phone.described(), result, heat)
        return Progress.Done(result, heat, json.toString(1))
    }

    private companion object {
        const val WARM_UP = 10
    }
}
