"""The highest learning rate, chosen by short trainings: successive halving (Jamieson and Talwalkar 2016)."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palmtop.durably import write_durably

FILE = "rates.json"
ROUNDS = ((0.06, 150), (0.16, 400))
"""Of each round: the steps of a trial as a share of the whole training's, and the most. With three rates, of which two
come through the first round, all trials together cost half a training."""
LEAST = 12
"""Steps of a trial below which its outcome is chance."""

NEAR = 0.005
"""Grades that differ by less don't tell rates apart: on a thousand texts that is chance. Their losses do."""


@dataclass(frozen=True)
class Outcome:
    """How well a model does on the validation split; infinite where it can't be said."""

    grade: float
    """The task's main metric."""
    loss: float
    """By the labels, mean over texts."""


FAILED = Outcome(-math.inf, math.inf)
"""Of a training that diverged."""

Train = Callable[[float, int], Outcome]
"""(highest rate, steps) -> the outcome of a training of so many steps from where the model started, its rate risen and
fallen to 0 within them."""


@dataclass(frozen=True)
class Trial:
    """A short training, and what came of it."""

    rate: float
    steps: int
    grade: float | None
    """The task's metric on the validation split; None where it isn't defined, as after a training that diverged."""
    loss: float | None = None
    """By the labels of that split; None where it isn't finite."""

    @property
    def outcome(self) -> Outcome:
        """What came of it, as numbers that can be compared."""
        return Outcome(
            -math.inf if self.grade is None else self.grade,
            math.inf if self.loss is None else self.loss,
        )


def worth_it(steps: int) -> bool:
    """Whether trials within half of so many steps say anything."""
    return ROUNDS[0][0] * steps >= LEAST


def choose(rates: Sequence[float], steps: int, train: Train, scratch: Path) -> tuple[float, list[Trial]]:
    """The best of some rates for a training of `steps` steps, and all trials.

    In each round the rates that are left are tried, each for longer than in the one before; the better half goes on
    (`ranked`). A trial that was made before a kill is read from `scratch`.
    """
    done = _read(scratch / FILE)
    left = sorted(rates)
    tried: list[Trial] = []
    for share, most in ROUNDS:
        length = min(most, round(share * steps))
        outcomes = {}
        for rate in left:
            made = next((one for one in done if (one.rate, one.steps) == (rate, length)), None)
            if made is None:
                outcome = train(rate, length)
                made = Trial(rate, length, _finite(outcome.grade), _finite(outcome.loss))
                done.append(made)
                write_durably(scratch / FILE, json.dumps([asdict(one) for one in done]))
            tried.append(made)
            outcomes[rate] = made.outcome
        left = ranked(outcomes)
        best = left[0]
        left = sorted(left[: (len(left) + 1) // 2])
    return best, tried


def ranked(outcomes: Mapping[float, Outcome]) -> list[float]:
    """Rates from best to worst: by the grade, and of those whose grades are NEAR the best one's by the loss; of equal
    ones the lower first.

    The loss tells rates apart where the grade can't yet: while a model still gives every text the most frequent label.
    """
    left, order = dict(outcomes), []
    while left:
        highest = max(outcome.grade for outcome in left.values())
        near = [rate for rate, outcome in left.items() if outcome.grade >= highest - NEAR]
        order.append(min(near, key=lambda rate: (left[rate].loss, rate)))
        del left[order[-1]]
    return order


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _read(path: Path) -> list[Trial]:
    return [Trial(**one) for one in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
