"""The quality of a task's subjects: metrics, agreement with teacher and torch, the paired difference from the
baseline."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Num
from numpy import ndarray

from palmtop.data.tokenization import HostTokenizer
from palmtop.eval.measuring.answers import Answers, answers
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Plan, Say, Subject
from palmtop.measurement import (
    ANSWERED_FIRST,
    DIFFERENCE_LARGER,
    LAST_EPOCH_GAINED,
    MOST_FREQUENT,
    OF_CUT_TEXTS,
    OF_WHOLE_TEXTS,
    SAMPLE,
)
from palmtop.metrics import Score, proportion
from palmtop.signature import FILE as SIGNATURE
from palmtop.task import Split

LEAST = 30
"""Of fewer texts, cut or whole, a metric is chance."""


@dataclass(frozen=True)
class Quality:
    """Takes them, subject by subject; answers are computed once and shared."""

    plan: Plan
    run: Path
    threads: int
    ledger: Ledger
    say: Say
    _answered: dict[Subject, Answers] = field(default_factory=dict)
    _grades: dict[Subject, Num[ndarray, "texts outputs"]] = field(default_factory=dict)
    _splits: dict[Subject, Split] = field(default_factory=dict)

    def take(self, subject: Subject) -> None:
        """Everything about one subject's answers that isn't known yet."""
        self._metrics(subject)
        torch = self.plan.torch_ancestor(subject.bundle)
        self._agreement(
            subject, "agreement_teacher", self.plan.teacher, "no fine-tuned torch bundle was given as the teacher"
        )
        self._agreement(subject, "agreement_torch", torch, "the torch bundle that it was made from was not given")
        self._versus_baseline(subject)
        if subject.bundle.is_cascade:
            self._answered_first(subject)
            self._versus_larger(subject)
        self._most_frequent(subject)
        self._last_epoch(subject)
        self._what_cutting_costs(subject)

    def _metrics(self, subject: Subject) -> None:
        task, labels = self.plan.task, self._split(subject).labels
        longest, sampled = _longest(subject) | self._sampled(subject), self._sampled(subject)
        known = self.ledger.knows(subject, task.of_kind.measured(labels), sampled)
        if known and self.ledger.knows(subject, ("truncated_texts",), longest):
            self.say(f"{subject}: answers measured before, kept")
            return
        given = self._answers(subject)
        taken = task.of_kind.scores(self._graded(subject), labels, task.label_names)
        if task.main_metric not in taken:
            why = f"undefined: {task.of_kind.undefined(task.main_metric)}"
            taken[task.main_metric] = Score(None, n=len(labels), why=why)
        self.ledger.write(subject, {"truncated_texts": Score(given.truncated, "texts", n=len(labels))}, longest)
        if given.tokenizer_mismatches is not None:
            taken["tokenizer_mismatches"] = Score(given.tokenizer_mismatches, "texts", n=len(labels))
        self.ledger.write(subject, taken, sampled)
        of = f", a sample of {len(self.plan.split)}" if sampled else ""
        self.say(f"{subject}: {task.main_metric} {_shown(taken[task.main_metric])}, {len(labels)} texts{of}")

    def _agreement(self, subject: Subject, metric: str, other: str | None, lack: str) -> None:
        conditions = {"with": self.plan.bundles[other].digest if other else None} | self._sampled(subject)
        if other == subject.name or self.ledger.knows(subject, (metric,), conditions):
            return
        theirs = self.plan.on_torch(other) if other else lack
        if isinstance(theirs, str):
            score = Score(None, why=theirs)
        else:
            ours, rows = self._answers(subject).outputs, self._shared(subject, theirs)
            score = self.plan.task.of_kind.agreement(ours[rows[0]], self._answers(theirs).outputs[rows[1]])
        self.ledger.write(subject, {metric: score}, conditions)

    def _versus_baseline(self, subject: Subject) -> None:
        baseline, task = self.plan.baseline_for(subject), self.plan.task
        if baseline is None or subject.name == baseline.name:
            return
        conditions = {"with": baseline.bundle.digest, "on": baseline.target.label} | self._sampled(subject)
        if self.ledger.knows(subject, ("difference_baseline",), conditions):
            return
        mine, others = self._shared(subject, baseline)
        ours, theirs = self._graded(subject)[mine], self._graded(baseline)[others]
        labels = self._split(subject).labels[mine]
        taken = {"difference_baseline": task.of_kind.difference(task.main_metric, ours, theirs, labels)}
        if taken["difference_baseline"].value is not None:
            taken |= task.of_kind.paired_tests(ours, theirs, labels)
        self.ledger.write(subject, taken, conditions)

    def _answered_first(self, subject: Subject) -> None:
        """The share of the texts that go no further than to a cascade's first model."""
        sampled = self._sampled(subject)
        if self.ledger.knows(subject, (ANSWERED_FIRST,), sampled):
            return
        with subject.target.open(subject.bundle.path, self.threads) as runner:
            stands = runner.answered_first(runner.tokenize(self._split(subject).texts))
        assert stands is not None  # it is a cascade's
        self.ledger.write(subject, {ANSWERED_FIRST: proportion(int(stands.sum()), len(stands))}, sampled)

    def _versus_larger(self, subject: Subject) -> None:
        """A cascade against the larger of its models alone, where that is measured too."""
        digest = subject.bundle.parts[-1].digest
        larger = next(
            (
                one
                for one in self.plan.subjects
                if one.bundle.digest == digest and one.target.label == subject.target.label
            ),
            None,
        )
        conditions = {"with": digest} | self._sampled(subject)
        if larger is None or self.ledger.knows(subject, (DIFFERENCE_LARGER,), conditions):
            return
        mine, others = self._shared(subject, larger)
        ours, theirs = self._graded(subject)[mine], self._graded(larger)[others]
        kind, metric = self.plan.task.of_kind, self.plan.task.main_metric
        score = kind.difference(metric, ours, theirs, self._split(subject).labels[mine])
        self.ledger.write(subject, {DIFFERENCE_LARGER: score}, conditions)

    def _most_frequent(self, subject: Subject) -> None:
        """What answering the most frequent label alone would score: who does no better has learnt nothing."""
        task = self.plan.task
        conditions = {"metric": task.main_metric} | self._sampled(subject)
        if self.ledger.knows(subject, (MOST_FREQUENT,), conditions):
            return
        alone = task.of_kind.constant(task.main_metric, self._split(subject).labels, len(task.label_names))
        if alone is not None:
            self.ledger.write(subject, {MOST_FREQUENT: alone}, conditions)

    def _last_epoch(self, subject: Subject) -> None:
        """What its card says of a training that was still getting better when it ended."""
        facts = subject.bundle.card.facts
        if (gained := facts.get(LAST_EPOCH_GAINED)) is None:
            return
        conditions = {"epochs": len(facts["by_epoch"])}
        if not self.ledger.knows(subject, (LAST_EPOCH_GAINED,), conditions):
            self.ledger.write(subject, {LAST_EPOCH_GAINED: Score(gained)}, conditions)

    def _what_cutting_costs(self, subject: Subject) -> None:
        """The deciding metric of the texts that were cut, beside that of the others, where there are enough of both and
        they were answered now. Cut texts are long, and may be harder for that alone: it is an upper bound."""
        split, task = self._split(subject), self.plan.task
        longest = _longest(subject)
        if subject not in self._answered or not longest or task.of_kind.apart:
            return
        conditions = longest | {"metric": task.main_metric} | self._sampled(subject)
        enough = LEAST <= self._answered[subject].truncated <= len(split) - LEAST
        if not enough or self.ledger.knows(subject, (OF_CUT_TEXTS, OF_WHOLE_TEXTS), conditions):
            return
        bundle, graded = subject.bundle, self._graded(subject)
        encodings = HostTokenizer.of(bundle.path, bundle.signature).encode(split.texts)
        cut = np.array([encoding.truncated for encoding in encodings])
        parts = {OF_CUT_TEXTS: np.flatnonzero(cut), OF_WHOLE_TEXTS: np.flatnonzero(~cut)}
        scores = {
            metric: task.of_kind.scores(graded[rows], split.labels[rows], task.label_names).get(task.main_metric)
            for metric, rows in parts.items()
        }
        self.ledger.write(subject, {metric: score for metric, score in scores.items() if score}, conditions)

    def _answers(self, subject: Subject) -> Answers:
        if subject not in self._answered:
            split = self._split(subject)
            self._answered[subject] = answers(subject, split, self.plan.task.of_kind, self.run, self.threads)
        return self._answered[subject]

    def _graded(self, subject: Subject) -> Num[ndarray, "texts outputs"]:
        """Once for each: comparing a question's answers as words takes longer than reading them, and the baseline is
        everyone's."""
        if subject not in self._grades:
            task, split = self.plan.task, self._split(subject)
            given = self._answers(subject).outputs
            self._grades[subject] = task.of_kind.graded(given, split.labels, split.texts, task.label_names)
        return self._grades[subject]

    def _split(self, subject: Subject) -> Split:
        """The texts that it answers."""
        if subject not in self._splits:
            rows = self.plan.sample(subject)
            self._splits[subject] = self.plan.split if rows is None else self.plan.split.take(rows)
        return self._splits[subject]

    def _sampled(self, subject: Subject) -> dict[str, int]:
        """How many texts it answers, as a condition, where that isn't all of them."""
        rows = self.plan.sample(subject)
        return {} if rows is None else {SAMPLE: len(rows)}

    def _shared(self, ours: Subject, theirs: Subject) -> tuple[Int64[ndarray, " rows"], Int64[ndarray, " rows"]]:
        """Where the texts that both answered stand among the answers of each."""
        every = np.arange(len(self.plan.split))
        mine, others = (every if rows is None else rows for rows in map(self.plan.sample, (ours, theirs)))
        _, here, there = np.intersect1d(mine, others, return_indices=True)
        return here, there


def _shown(score: Score) -> str:
    if score.value is None:
        return f"not valid ({score.why})"
    return f"{score.value:.4f}" + (
        f" ({score.low:.4f} to {score.high:.4f})" if score.low is not None and score.high is not None else ""
    )


def _longest(subject: Subject) -> dict[str, int]:
    """Tokens after which it cuts a text, as a condition; none of what reads no tokens."""
    bundle = subject.bundle
    return {"longest": bundle.signature.max_length} if (bundle.path / SIGNATURE).is_file() else {}
