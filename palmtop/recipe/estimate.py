"""How long the steps of a recipe will take on this machine: what each stage says of its work, times what a short trial
took."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palmtop.recipe.steps import Step
from palmtop.stage import Outline

MEASURING = 30.0
"""Seconds that measuring takes for each bundle: loading, answers, latencies."""


NAMED = 5
"""Trainings that are told one by one; of more their sum."""


@dataclass(frozen=True)
class Estimate:
    """Seconds, by what they go into."""

    training: Mapping[str, float]
    """By step; fewer epochs make it less."""
    apart: float
    """All else: teachers' answers, exports, measuring."""
    unknown: tuple[str, ...] = ()
    """Steps that aren't in it, because their texts aren't the task's."""

    def seconds(self, share: float = 1.0) -> float:
        """Of all of it, with this share of the epochs."""
        return self.apart + share * sum(self.training.values())

    def share_for(self, minutes: float) -> float:
        """The share of the epochs that fits into so many minutes; 1 where all do, 0 where the rest takes longer."""
        left = (60 * minutes - self.apart) / max(sum(self.training.values()), 1e-9)
        return min(1.0, max(0.0, left))

    def __str__(self) -> str:
        named = self.training if len(self.training) <= NAMED else {"training": sum(self.training.values())}
        parts = [f"{name} {_minutes(seconds)}" for name, seconds in named.items()]
        but = f"; without {' and '.join(self.unknown)}, of which it isn't known" if self.unknown else ""
        total = _minutes(self.seconds())
        return (
            f"about {total} minute{'s' if total != '1' else ''} on this machine ({', '.join(parts)}, the rest "
            f"{_minutes(self.apart)}){but}"
        )


def estimate(steps: Sequence[Step], outlines: Mapping[str, Outline], rows: int, pace: float, measured: int) -> Estimate:
    """What the steps will take.

    Args:
        outlines: of what each of the recipe's steps makes.
        rows: the task's training texts.
        pace: seconds of a text through one layer, forth and back.
        measured: bundles that will be measured.
    """
    training: dict[str, float] = {}
    apart, unknown = measured * MEASURING, []
    for step in steps:
        effort = step.stage.effort(outlines.get(step.source) if step.source else None, rows)
        if effort is None:
            unknown.append(step.name)
            continue
        learnt, rest = effort.texts_seconds(rows, pace)
        apart += rest
        if learnt:
            training[step.name] = learnt
    return Estimate(training, apart, tuple(unknown))


def _minutes(seconds: float) -> str:
    """Rounded up: whole ones, of less than one a tenth."""
    minutes = seconds / 60
    return f"{math.ceil(minutes)}" if minutes > 1 else f"{max(1, math.ceil(10 * minutes)) / 10:.2g}"
