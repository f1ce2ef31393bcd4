"""How long answers take, side by side: all artefacts take turns, so that a busy or warm machine treats them alike."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.metrics import Z
from palmtop.target import Runner, Unreachable

TURN = 12
"""Timed answers in a row before the next artefact's turn."""
WARM_UP = 10
"""Untimed answers of each artefact before all turns."""
REWARM = 2
"""Untimed answers at the start of a turn: the others have had the caches."""


@dataclass
class Timings:
    """Milliseconds of each timed run."""

    padded_ms: list[float] = field(default_factory=list)
    """The model alone, every text padded to one length: the same work for all."""
    alone_ms: list[float] = field(default_factory=list)
    """The model alone, each text at the shortest length the artefact accepts."""
    tokenize_ms: list[float] = field(default_factory=list)
    """Tokenization alone; empty where it is a part of the answer."""
    not_padded: str | None = None
    """Why there is no `padded_ms`."""
    not_tokenized: str | None = None
    """Why there is no `tokenize_ms`, where tokenization isn't a part of the answer either."""
    noted: dict[str, Any] = field(default_factory=dict)
    """How the machine was doing at the end."""
    doubt: str | None = None
    """Why these times are not valid: the machine was hot or busy, or went away; those so far are here all the same."""
    gone: Unreachable | None = None
    """Told by the machine's going away half-way."""

    @property
    def text_ms(self) -> list[float]:
        """From a text to its answer, as in an app: run i tokenizes and answers the same text. Nothing where only the
        answer was timed."""
        if self.not_tokenized is not None:
            return []
        if not self.tokenize_ms:
            return self.alone_ms
        return [tokenize + alone for tokenize, alone in zip(self.tokenize_ms, self.alone_ms, strict=True)]


@dataclass(frozen=True)
class Quantiles:
    """Of timed runs, in ms; `low` and `high` bound the median (95 %, by ranks: Conover 1999, section 3.2)."""

    median: float
    low: float
    high: float
    p90: float
    p99: float
    runs: int


def side_by_side(runners: Sequence[Runner], texts: Sequence[Text], length: int, runs: int) -> list[Timings]:
    """Time every runner `runs` times, in turns whose order rotates. Where the machine goes away half-way, the times so
    far are returned, with that as their doubt.

    Args:
        runners: open artefacts.
        texts: what all of them answer, cycled through.
        length: tokens of the padded runs.
    """
    seats = [_Seat(runner, texts, runner.tokenize(texts), length) for runner in runners]
    for seat in seats:
        seat.warm_up()
    try:
        _take_turns(seats, runs)
    except Unreachable as error:
        for seat in seats:
            seat.timings.gone = error
            seat.timings.doubt = f"after {len(seat.timings.alone_ms)} of {runs} answers: {error}"
    return [seat.timings for seat in seats]


def quantiles(times_ms: Sequence[float]) -> Quantiles:
    """Median, p90 and p99 (linear between ranks) of timed runs."""
    ordered = sorted(times_ms)
    n = len(ordered)
    reach = Z * math.sqrt(n) / 2
    low, high = ordered[max(0, round(n / 2 - reach) - 1)], ordered[min(n - 1, round(n / 2 + reach))]
    median, p90, p99 = np.percentile(ordered, [50, 90, 99])
    return Quantiles(float(median), low, high, float(p90), float(p99), n)


def _take_turns(seats: "Sequence[_Seat]", runs: int) -> None:
    for turn, start in enumerate(range(0, runs, TURN)):
        first = turn % len(seats)
        for seat in (*seats[first:], *seats[:first]):
            seat.take_turn(start, min(TURN, runs - start))
    for seat in seats:
        seat.look()


@dataclass(frozen=True)
class _Seat:
    """One runner at the table, its texts and its times."""

    runner: Runner
    texts: Sequence[Text]
    encodings: Sequence[Encoding]
    length: int
    timings: Timings = field(default_factory=Timings)

    def warm_up(self) -> None:
        """Untimed answers in every way that will be timed; how the machine was doing before."""
        self.look()
        self.runner.latencies_ms(
            self.encodings, None, max(WARM_UP, len(self.texts))
        )  # meets every length the texts have
        self.timings.not_tokenized = _refusal(lambda: self.runner.tokenize_latencies_ms(self.texts, WARM_UP))
        self.timings.not_padded = _refusal(lambda: self.runner.latencies_ms(self.encodings, self.length, WARM_UP))

    def look(self) -> None:
        """Note how the machine is doing; the first doubt stays."""
        state = self.runner.state()
        self.timings.noted = state.noted
        self.timings.doubt = self.timings.doubt or state.doubt

    def take_turn(self, start: int, runs: int) -> None:
        """Time runs `start` to `start + runs`; run i is always of the same text."""
        first = start % len(self.texts)
        texts, encodings = ([*side[first:], *side[:first]] for side in (self.texts, self.encodings))
        if self.timings.not_padded is None:
            self.runner.latencies_ms(encodings, self.length, REWARM)
            self.timings.padded_ms += self.runner.latencies_ms(encodings, self.length, runs)
        self.runner.latencies_ms(encodings, None, REWARM)
        self.timings.alone_ms += self.runner.latencies_ms(encodings, None, runs)
        if self.timings.not_tokenized is None:
            self.timings.tokenize_ms += self.runner.tokenize_latencies_ms(texts, runs)


def _refusal(asked: Callable[[], object]) -> str | None:
    """Why the runner can't be timed so; None where it can. A machine that is gone is no such reason."""
    try:
        asked()
    except Unreachable:
        raise
    except UserError as error:
        return str(error)
    return None
