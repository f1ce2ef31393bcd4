package app.palmtop.demo

import android.os.Handler
import android.os.Looper
import app.palmtop.core.DamagedModel
import app.palmtop.core.Manifest
import app.palmtop.engine.TextModel
import app.palmtop.engine.TimedAnswer
import java.io.IOException
import java.util.concurrent.ExecutorService
import java.util.concurrent.Executors
import java.util.concurrent.atomic.AtomicInteger

/** What the main screen has to show. */
sealed interface State {
    /** The model's name and what it asks for; null until it is open. */
    val manifest: Manifest?

    /** A model is being opened. */
    data object Opening : State {
        override val manifest: Manifest? = null
    }

    /** Its golden answers are being compared. */
    class Checking(
        override val manifest: Manifest,
    ) : State

    /** It may not answer; [why] is in English, for a bug report. */
    class Refused(
        override val manifest: Manifest?,
        val why: String,
    ) : State

    /** It waits for a text. */
    class Ready(
        override val manifest: Manifest,
    ) : State

    /** It has no answer to this text, such as a question that is longer than the model reads; [why] is in English. */
    class Failed(
        override val manifest: Manifest,
        val why: String,
    ) : State

    /** It answered [text], or [text] and [pair]. */
    class Answered(
        override val manifest: Manifest,
        val text: String,
        val pair: String?,
        val timed: TimedAnswer,
    ) : State
}

/**
 * Opens models and answers off the main thread; outlives the activity when the screen turns.
 *
 * All of its methods are for the main thread, and there it tells. A text that comes while another is waited for replaces it: the older
 * one is never begun, or, where the model is at it already, its answer is dropped.
 */
class Answerer(
    private val models: BundledModels,
    private val trust: Trust,
) {
    private val worker: ExecutorService = Executors.newSingleThreadExecutor()
    private val main = Handler(Looper.getMainLooper())
    private val asked = AtomicInteger()
    private val opened = AtomicInteger()
    private var waiting: Runnable? = null

    /** Only touched on [worker]. */
    private var model: TextModel? = null

    /** Folder of the model that is open, or being opened. */
    var name: String? = null
        private set

    /** What there is to show. */
    var state: State = State.Opening
        private set

    /** Who is told of a new [state]. */
    var listener: ((State) -> Unit)? = null

    /** Change to another model; the one that was open is closed. */
    fun open(folder: String) {
        if (folder == name) return
        name = folder
        forget()
        val number = opened.incrementAndGet()
        show(State.Opening)
        worker.execute {
            if (number == opened.get()) openNow(folder) { next -> main.post { if (number == opened.get()) show(next) } }
        }
    }

    /** Answer a text when no other has come for a moment. */
    fun ask(
        text: String,
        pair: String?,
    ) {
        forget()
        val manifest = state.manifest?.takeIf { state !is State.Checking && state !is State.Refused } ?: return
        if (text.isBlank() || pair?.isBlank() == true) {
            if (state !is State.Ready) show(State.Ready(manifest))
            return
        }
        val number = asked.get()
        val begin = Runnable { worker.execute { if (number == asked.get()) answerNow(manifest, text, pair, number) } }
        waiting = begin
        main.postDelayed(begin, PAUSE_MS)
    }

    /** Free the model; nothing is answered any more. */
    fun close() {
        listener = null
        forget()
        opened.incrementAndGet()
        worker.execute { model?.close() }
        worker.shutdown()
    }

    private fun forget() {
        waiting?.let(main::removeCallbacks)
        waiting = null
        asked.incrementAndGet()
    }

    private fun show(next: State) {
        state = next
        listener?.invoke(next)
    }

    private fun openNow(
        folder: String,
        tell: (State) -> Unit,
    ) {
        model?.close()
        model = null
        var known: Manifest? = null
        try {
            val next = TextModel(models.files(folder))
            model = next
            known = next.manifest
            val report = trust.establish(next) { tell(State.Checking(next.manifest)) }
            tell(report?.fault?.let { State.Refused(known, it) } ?: State.Ready(next.manifest))
        } catch (error: DamagedModel) {
            tell(State.Refused(known, error.message.orEmpty()))
        } catch (error: IllegalArgumentException) {
            // a tokenizer that isn't known, or LiteRT doesn't take the file
            tell(State.Refused(known, error.message.orEmpty()))
        } catch (error: IOException) {
            tell(State.Refused(known, error.message.orEmpty()))
        }
    }

    private fun answerNow(
        manifest: Manifest,
        text: String,
        pair: String?,
        number: Int,
    ) {
        val answering = model ?: return
        val next =
            try {
                State.Answered(manifest, text, pair, answering.answer(text, pair))
            } catch (error: IllegalArgumentException) {
                State.Failed(manifest, error.message.orEmpty())
            }
        main.post { if (number == asked.get()) show(next) }
    }

    private companion object {
        /** Long enough that a word is typed in one go, short enough to feel at once. */
        const val PAUSE_MS = 120L
    }
}
