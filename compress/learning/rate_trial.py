"""The highest learning rate, chosen by short trainings: successive halving (Jamieson and Talwalkar 2016)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palmtop.durably import write_durably

FILE = "rates.json"
ROUNDS = ((0.06, 150), (0.16, 400))
"""Of each round: the steps of a trial as a share of the whole training's, and the most. With three rates, of which two
come through the first round, all trials together cost half a training."""
LEAST = 12
"""Steps of a trial below which its outcome is chance."""

Train = Callable[[float, int], float]
"""(highest rate, steps) -> the grade after a training of so many steps from where the model started, its rate risen and
fallen to 0 within them."""


@dataclass(frozen=True)
class Trial:
    """A short training, and what came of it."""

    rate: float
    steps: int
    grade: float | None
    """The task's metric on the validation split; None where it isn't defined, as after a training that diverged."""


def worth_it(steps: int) -> bool:
    """Whether trials within half of so many steps say anything."""
    return ROUNDS[0][0] * steps >= LEAST


def choose(rates: Sequence[float], steps: int, train: Train, scratch: Path) -> tuple[float, list[Trial]]:
    """The best of some rates for a training of `steps` steps, and all trials.

    In each round the rates that are left are tried, each for longer than in the one before; the better half goes on. Of
    equal ones the lower is taken. A trial that was made before a kill is read from `scratch`.
    """
    done = _read(scratch / FILE)
    left = sorted(rates)
    tried: list[Trial] = []
    for share, most in ROUNDS:
        length = min(most, round(share * steps))
        grades = {}
        for rate in left:
            made = next((one for one in done if (one.rate, one.steps) == (rate, length)), None)
            if made is None:
                grade = train(rate, length)
                made = Trial(rate, length, grade if grade > float("-inf") else None)
                done.append(made)
                write_durably(scratch / FILE, json.dumps([asdict(one) for one in done]))
            tried.append(made)
            grades[rate] = made.grade if made.grade is not None else float("-inf")
        left = sorted(sorted(left, key=lambda rate: (-grades[rate], rate))[: (len(left) + 1) // 2])
    best = max(left, key=lambda rate: (grades[rate], -rate))
    return best, tried


def _read(path: Path) -> list[Trial]:
    return [Trial(**one) for one in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
