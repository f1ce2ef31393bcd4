"""What an answer of a cascade takes in the mean over the evaluation texts: one model's time or both's, text by text.

The bundles that it is made of are timed beside it, in the same session, on the same texts; so is nothing else, since a
median tells as much of a model that does the same work for every text.
"""

import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.eval.measuring.latency import REWARM, TURN, WARM_UP
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Plan, Say, Subject
from palmtop.measure_settings import MeasureText
from palmtop.measurement import EXPECTED_MS
from palmtop.metrics import Score, bootstrapped_mean
from palmtop.target import Runner, Unreachable

MOST = 1000
"""Texts that are timed, spread evenly over the evaluation split, where there are more."""
ROUNDS = 3
"""Answers to each text, of which the median counts: a mean over texts would keep whatever else the machine did once."""


def with_parts(group: Sequence[Subject]) -> list[Subject]:
    """The cascades of a group, and what they are made of as far as it is in the group."""
    cascades = [one for one in group if one.bundle.is_cascade]
    parts = {part.digest for one in cascades for part in one.bundle.parts}
    return [one for one in group if one in cascades or one.bundle.digest in parts]


@dataclass(frozen=True)
class Expected:
    """Takes it for a group of one place."""

    plan: Plan
    options: MeasureText
    ledger: Ledger
    say: Say

    def take(self, group: Sequence[Subject]) -> None:
        """Mean milliseconds from a text to its answer, in turns; kept if all were taken in one session, and hold.

        Raises:
            Unreachable: the machine went away.
        """
        timed = with_parts(group)
        if not timed:
            return
        rows = np.unique(np.linspace(0, len(self.plan.split) - 1, min(MOST, len(self.plan.split))).round().astype(int))
        conditions = {"threads": self.options.threads, "texts": len(rows)}
        sessions = {self.ledger.session_of(subject, EXPECTED_MS, conditions) for subject in timed}
        if len(sessions) == 1 and None not in sessions:
            return
        session, texts = uuid.uuid4().hex[:12], [self.plan.split.texts[row] for row in rows]
        scores, untold = self._scores(timed, texts)
        noted = {"without_tokenization": untold} if untold else {}
        for subject, score in zip(timed, scores, strict=True):
            self.ledger.write(subject, {EXPECTED_MS: score}, conditions, session, noted)
            if score.value is not None:
                self.say(f"{subject}: {score.value:.2f} ms from text to answer in the mean over {len(rows)} texts")

    def _scores(self, timed: Sequence[Subject], texts: Sequence[Text]) -> tuple[list[Score], str | None]:
        """The means, and why they are of answers alone, where they are."""
        untimed = next((why for subject in timed if (why := subject.target.untimed)), None)
        if untimed is not None:
            return [Score(None, "ms", why=untimed) for _ in timed], None
        with ExitStack() as stack:
            runners = [
                stack.enter_context(subject.target.open(subject.bundle.path, self.options.threads)) for subject in timed
            ]
            return [_mean(times) for times in in_turns(runners, texts)], why_not_tokenized(runners, texts)


def in_turns(runners: Sequence[Runner], texts: Sequence[Text]) -> list[list[float]]:
    """Milliseconds of every text, tokenization and answer, by runner: the median of three rounds, in which a few texts
    at a time are answered by turns whose order rotates."""
    tokenizes = why_not_tokenized(runners, texts) is None
    seats = [_Seat(runner, texts, runner.tokenize(texts), tokenizes) for runner in runners]
    for seat in seats:
        seat.warm_up()
    starts = [start for _ in range(ROUNDS) for start in range(0, len(texts), TURN)]
    for turn, start in enumerate(starts):
        first = turn % len(seats)
        for seat in (*seats[first:], *seats[:first]):
            seat.take_turn(slice(start, start + TURN))
    return [np.median(np.reshape(seat.times_ms, (ROUNDS, len(texts))), axis=0).tolist() for seat in seats]


def why_not_tokenized(runners: Sequence[Runner], texts: Sequence[Text]) -> str | None:
    """Why only the answers are timed: nothing tokenizes where they are; None where it does."""
    return next((why for runner in runners if (why := _refusal(runner, texts))), None)


def _refusal(runner: Runner, texts: Sequence[Text]) -> str | None:
    """Why a runner doesn't tell its tokenizer's time; a machine that is gone is no such reason."""
    try:
        runner.tokenize_latencies_ms(texts[:1], 1)
    except Unreachable:
        raise
    except UserError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class _Seat:
    runner: Runner
    texts: Sequence[Text]
    encodings: Sequence[Encoding]
    tokenizes: bool = True
    times_ms: list[float] = field(default_factory=list)

    def warm_up(self) -> None:
        self.runner.latencies_ms(self.encodings, None, WARM_UP)
        if self.tokenizes:
            self.runner.tokenize_latencies_ms(self.texts, WARM_UP)

    def take_turn(self, part: slice) -> None:
        texts, encodings = self.texts[part], self.encodings[part]
        self.runner.latencies_ms(encodings, None, REWARM)
        answers = self.runner.latencies_ms(encodings, None, len(encodings))
        tokens = self.runner.tokenize_latencies_ms(texts, len(texts)) if self.tokenizes else []
        self.times_ms.extend(np.sum([answers, tokens], axis=0).tolist() if tokens else answers)


def _mean(times_ms: Sequence[float]) -> Score:
    found = bootstrapped_mean(np.array(times_ms))
    return Score(found.value, "ms", found.low, found.high, found.n)
