"""What a task's subjects cost: bytes, loading, memory, and latencies taken side by side."""

import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from palmtop import format as file_format
from palmtop.data.encoding import Text
from palmtop.eval.measuring.conditions import conditions, precision, quantized_from
from palmtop.eval.measuring.latency import Timings, quantiles, side_by_side
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.nonzeros import nonzeros
from palmtop.eval.measuring.plan import Plan, Say, Subject
from palmtop.eval.measuring.size import SIZES, download_bytes, gzip_bytes, model_bytes
from palmtop.eval.measuring.writing import RUNS, asked, paces
from palmtop.measure_settings import MeasureText
from palmtop.measurement import NOT_RUN
from palmtop.metrics import Score
from palmtop.target import OWN_LENGTH
from palmtop.task_kinds.causal_lm import FIRST, PACE
from palmtop.writer import Writer

LOADS = 3
"""Fresh processes behind a cost of loading, where nothing else is said; their median is kept."""
TIMES = ("latency", "text_latency", "tokenize")
LOADING = ("load_ms", "memory_mb")


@dataclass(frozen=True)
class Cost:
    """Takes them: size and loading subject by subject, latencies for a whole group at once."""

    plan: Plan
    options: MeasureText
    ledger: Ledger
    say: Say
    loads: int = LOADS
    """Fresh processes behind a cost of loading."""

    def take(self, subject: Subject) -> None:
        """Size, non-zeros and loading of one subject, if they aren't known yet."""
        bundle = subject.bundle
        stored = (
            {"precision": precision(bundle)} | quantized_from(bundle) | conditions(bundle, self.plan.bundles.values())
        )
        if not self.ledger.knows(subject, SIZES, stored):
            sizes = (Score(measure(bundle), "bytes") for measure in (model_bytes, download_bytes, gzip_bytes))
            self.ledger.write(subject, dict(zip(SIZES, (*sizes, nonzeros(bundle)), strict=True)), stored)
        if not subject.target.runs:
            self.say(f"{subject}: {NOT_RUN}: {file_format.find(bundle.format).not_run}")
            return
        threads = {"threads": self.options.threads}
        if self.ledger.knows(subject, LOADING, threads):
            return
        if why := subject.target.untimed:
            units = zip(LOADING, ("ms", "MB"), strict=True)
            self.ledger.write(subject, {name: Score(None, unit, why=why) for name, unit in units}, threads)
        else:
            self.ledger.write(subject, self._loading(subject), threads)

    def take_latencies(self, group: list[Subject]) -> None:
        """Latencies of a group, in turns; kept if all of them were taken in one session, and hold.

        Raises:
            Unreachable: the machine went away half-way; what was timed is written, and not valid.
        """
        if any(subject.target.untimed for subject in group):
            self._leave_untimed(group)
            return
        if self.plan.task.of_kind.writes:
            self._take_paces(group)
        sessions = {
            self.ledger.session_of(subject, f"{kind}_p99_ms", self._timing(subject))
            for subject in group
            for kind in TIMES
        }
        if len(sessions) == 1 and None not in sessions:
            self.say(f"{', '.join(map(str, group))}: latencies measured before, kept")
            return
        self.say(f"timing side by side: {', '.join(map(str, group))}")
        timed, session = self._side_by_side(group), uuid.uuid4().hex[:12]
        for subject, timings in zip(group, timed, strict=True):
            taken = _by_quantile(timings)
            self.ledger.write(subject, taken, self._timing(subject), session, timings.noted)
            if timings.gone is not None:
                continue
            self.say(
                f"{subject}: {_shown(taken['latency_ms'])}{self._at(subject)}, {_shown(taken['text_latency_ms'])} "
                "from text to answer"
            )
        if gone := next((timings.gone for timings in timed if timings.gone), None):
            raise gone

    def _leave_untimed(self, group: list[Subject]) -> None:
        """Write why there are no times, where a target's clock says nothing."""
        for subject in group:
            if self.ledger.session_of(subject, "latency_ms", self._timing(subject)) is None:
                untimed = _by_quantile(Timings(not_padded=subject.target.untimed, not_tokenized=subject.target.untimed))
                self.ledger.write(subject, untimed, self._timing(subject))

    def _loading(self, subject: Subject) -> dict[str, Score]:
        text = self._texts(1)[0]
        costs = [
            subject.target.cost_of_loading(subject.bundle.path, text, self.options.threads) for _ in range(self.loads)
        ]
        load_ms, memory_mb = (median(side) for side in zip(*costs, strict=True))
        self.say(f"{subject}: {load_ms:.0f} ms from file to first answer, {memory_mb:.0f} MB of memory")
        return {"load_ms": Score(load_ms, "ms", n=self.loads), "memory_mb": Score(memory_mb, "MB", n=self.loads)}

    def _side_by_side(self, group: list[Subject]) -> list[Timings]:
        texts = self._texts(self.options.runs)
        with ExitStack() as stack:
            runners = [
                stack.enter_context(subject.target.open(subject.bundle.path, self.options.threads)) for subject in group
            ]
            return side_by_side(runners, texts, self.plan.length, self.options.runs)

    def _take_paces(self, group: list[Subject]) -> None:
        """How fast models write, all of them in turns; kept if all of them were taken in one session."""
        threads = {"threads": self.options.threads, "length": self.plan.length}
        sessions = {self.ledger.session_of(subject, PACE, threads) for subject in group}
        if len(sessions) == 1 and None not in sessions:
            return
        with ExitStack() as stack:
            opened = (subject.target.open(subject.bundle.path, self.options.threads) for subject in group)
            writers = [writer for one in opened if isinstance(writer := stack.enter_context(one), Writer)]
            prompt, tokens = asked(writers, self.plan.length)
            taken, session = paces(writers, self._texts(RUNS), prompt, tokens), uuid.uuid4().hex[:12]
        for subject, found in zip(group, taken, strict=True):
            self.ledger.write(subject, found, threads, session, {"prompt": prompt, "written": tokens})
            self.say(
                f"{subject}: {_shown(found[FIRST])} to the first token behind {prompt}, then "
                f"{found[PACE].value:.0f} tokens a second"
            )

    def _texts(self, count: int) -> list[Text]:
        """Texts spread evenly over the evaluation split, as the model is asked them: one sequence at a time."""
        texts = [text for text, _ in self.plan.task.of_kind.sequences(self.plan.split.texts)]
        return [texts[index] for index in np.linspace(0, len(texts) - 1, min(count, len(texts))).astype(int)]

    def _timing(self, subject: Subject) -> dict[str, Any]:
        """The conditions of a latency: asked for is `length`, and `padded_to` is what the artefact really ran at."""
        asked, on = self.options, subject.target
        return {
            "threads": on.threads_used(asked.threads),
            "length": self.plan.length,
            "padded_to": on.padded_to(subject.bundle.path, self.plan.length),
            "runs": asked.runs,
        }

    def _at(self, subject: Subject) -> str:
        padded = subject.target.padded_to(subject.bundle.path, self.plan.length)
        return (
            f" at {padded} tokens"
            if isinstance(padded, int)
            else " at each text's own length"
            if padded == OWN_LENGTH
            else ""
        )


def _by_quantile(timings: Timings) -> dict[str, Score]:
    """Median (with its interval), p90 and p99 of each kind of time, by metric."""
    times = dict(zip(TIMES, (timings.padded_ms, timings.text_ms, timings.tokenize_ms), strict=True))
    taken: dict[str, Score] = {}
    for kind, measured in times.items():
        if not measured:
            if why := _why_none(timings, kind):
                taken |= {f"{kind}_{end}": Score(None, "ms", why=why) for end in ("ms", "p90_ms", "p99_ms")}
            continue
        found, doubt = quantiles(measured), timings.doubt
        taken |= {
            f"{kind}_ms": Score(found.median, "ms", found.low, found.high, found.runs, doubt),
            f"{kind}_p90_ms": Score(found.p90, "ms", n=found.runs, why=doubt),
            f"{kind}_p99_ms": Score(found.p99, "ms", n=found.runs, why=doubt),
        }
    return taken


def _why_none(timings: Timings, kind: str) -> str | None:
    """Why there are no times of this kind; None where they are still to be taken, the machine having gone away."""
    why = timings.not_padded if kind == "latency" else timings.not_tokenized
    if why is None and timings.gone is None:
        return "the model has no tokenization apart from its answer"
    return why


def _shown(score: Score) -> str:
    if score.value is None:
        return f"not measured ({score.why})"
    return f"{score.value:.2f} ms" + (f" (not valid: {score.why})" if score.why else "")
