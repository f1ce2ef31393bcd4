"""How many texts are made of each, chosen by short trainings of equal length: more texts pay where they teach more than
the same ones seen again."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from palmtop.durably import write_durably

FILE = "copies.json"
COUNTS = (0, 2, 8, 20)
"""Texts made of each that are tried."""
SHARE, MOST = 0.06, 150
"""Steps of a trial as a share of the whole training's, and the most: all of them together cost a quarter of it."""

Train = Callable[[int, int], float]
"""(texts of each, steps) -> the grade after a training of so many steps from where the model started."""


@dataclass(frozen=True)
class CopiesTrial:
    """A short training, and what came of it."""

    copies: int
    steps: int
    grade: float | None
    """The task's metric on the validation split; None where it isn't defined."""


def choose(steps: int, train: Train, scratch: Path) -> tuple[int, list[CopiesTrial]]:
    """The best of COUNTS for a training of `steps` steps, and all trials; of equal ones the fewest. A trial that was
    made before a kill is read from `scratch`."""
    path, length = scratch / FILE, min(MOST, round(SHARE * steps))
    done = [CopiesTrial(**one) for one in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []
    tried: list[CopiesTrial] = []
    for copies in COUNTS:
        made = next((one for one in done if (one.copies, one.steps) == (copies, length)), None)
        if made is None:
            grade = train(copies, length)
            made = CopiesTrial(copies, length, grade if grade > float("-inf") else None)
            done.append(made)
            write_durably(path, json.dumps([asdict(one) for one in done]))
        tried.append(made)
    return best_of(tried), tried


def best_of(tried: Sequence[CopiesTrial]) -> int:
    """How many texts of each did best; of equal ones the fewest."""
    best = max(tried, key=lambda one: (one.grade if one.grade is not None else float("-inf"), -one.copies))
    return best.copies
