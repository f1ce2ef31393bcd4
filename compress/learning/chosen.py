"""What a training chose on the validation split, for its bundle's card and in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palmtop.compress.learning import copies_trial
from palmtop.compress.learning.copies_trial import CopiesTrial
from palmtop.compress.learning.rate_trial import Trial
from palmtop.measurement import LAST_EPOCH_GAINED

RISING = 0.01
"""A grade that rose by more than this in the last epoch would have gone on rising."""


def best_of(grades: Sequence[float]) -> int:
    """The epoch that did best, from 1 on: of equal ones the first, and the last where none could be graded."""
    highest = max(grades)
    return grades.index(highest) + 1 if math.isfinite(highest) else len(grades)


@dataclass(frozen=True)
class Chosen:
    """Rate and epochs, and the grades they were chosen by."""

    metric: str
    """What a grade is: the task's main metric."""
    texts: int
    """How many validation texts were graded."""
    rate: float
    """The highest rate of the training."""
    trials: Sequence[Trial]
    """Short trainings that chose the rate, in their order; empty where it wasn't chosen by any."""
    grades: Sequence[float]
    """After each epoch; empty where the epochs were given."""
    copies: Sequence[CopiesTrial] = ()
    """Short trainings that chose how many texts are made of each; empty where that wasn't chosen."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        facts: dict[str, Any] = {"chosen_on": f"{self.metric} of {self.texts} validation texts", "rate": self.rate}
        if self.trials:
            facts["rate_trials"] = [
                {"rate": one.rate, "steps": one.steps, self.metric: _number(one.grade)} for one in self.trials
            ]
        if self.copies:
            facts |= {"augment_copies": self.best_copies}
            facts["copies_trials"] = [
                {"copies": one.copies, "steps": one.steps, self.metric: _number(one.grade)} for one in self.copies
            ]
        if self.grades:
            facts |= {"by_epoch": [_number(grade) for grade in self.grades], "best_epoch": best_of(self.grades)}
            facts |= {LAST_EPOCH_GAINED: self.rising} if self.rising is not None else {}
        return facts

    @property
    def best_copies(self) -> int:
        """How many texts of each did best in the trials; of equal ones the fewest."""
        return copies_trial.best_of(self.copies)

    @property
    def rising(self) -> float | None:
        """How much the last epoch gained, where that is so much that the next would have gained too; else None."""
        *earlier, last = self.grades or (-math.inf,)
        if not earlier or best_of(self.grades) <= len(earlier) or not math.isfinite(last - earlier[-1]):
            return None
        gained = last - earlier[-1]
        return round(gained, 6) if gained > RISING else None

    def lines(self) -> list[str]:
        """What is said when the training is over."""
        told = []
        if self.copies:
            tried = ", ".join(f"{one.copies}: {_shown(one.grade)}" for one in self.copies)
            told.append(
                f"augment_copies {self.best_copies}, by {self.metric} on {self.texts} validation texts after "
                f"{self.copies[0].steps} steps ({tried})"
            )
        if self.trials:
            last = [one for one in self.trials if one.steps == self.trials[-1].steps]
            tried = ", ".join(f"{one.rate:g}: {_shown(one.grade)}" for one in last)
            told.append(
                f"learning_rate {self.rate:g}, by {self.metric} on {self.texts} validation texts after {last[0].steps} "
                f"steps ({tried})"
            )
        if self.grades:
            shown = " ".join(_shown(grade) for grade in self.grades)
            told.append(f"{self.metric} on validation by epoch: {shown}; epoch {best_of(self.grades)} is kept")
        if self.rising is not None:
            told.append(
                f"the last of {len(self.grades)} epochs still gained {100 * self.rising:.1f} points on the validation "
                f"split: train longer (epochs: {2 * len(self.grades)})"
            )
        return told


def _number(grade: float | None) -> float | None:
    return round(grade, 6) if grade is not None and math.isfinite(grade) else None


def _shown(grade: float | None) -> str:
    return f"{grade:.3f}" if grade is not None and math.isfinite(grade) else "undefined"
