"""Ahead of a recipe's training: how long the run will take is told, and epochs are cut where it has to fit into some
minutes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop import making
from palmtop.bundle import Bundle
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.making import Say
from palmtop.processes import processes
from palmtop.recipe.attempt import Attempt, Failed, needed, tried
from palmtop.recipe.estimate import Estimate, estimate
from palmtop.recipe.step_bundles import with_bundles
from palmtop.recipe.steps import Step
from palmtop.stage import Outline
from palmtop.task import Task

FILE = "minutes.json"
"""In a run's folder: which share of the epochs fitted, so that the same command goes on with the same."""
LEAST = 0.02
"""Share of the epochs below which no training is worth its name."""


class Fitted(BaseModel):
    """What was found to fit."""

    model_config = ConfigDict(extra="forbid")

    minutes: float
    recipe: str
    """sha256 of the steps."""
    share: float


@dataclass(frozen=True)
class Ahead:
    """A recipe's steps, and what is known of them before they are made."""

    steps: tuple[Step, ...]
    outlines: Mapping[str, Outline]
    task: Task | None
    measured: bool
    """Whether the bundles are measured when they are made."""
    side_by_side: bool = False
    """Whether steps are made so: then the estimate is said to be of one after the other."""

    def before_training(self) -> tuple[Step, ...]:
        """Those ahead of the first that trains."""
        first = next((place for place, step in enumerate(self.steps) if self._trains(step)), len(self.steps))
        return self.steps[:first]

    def in_time(self, made: Attempt, out: Path, say: Say, minutes: float | None) -> tuple[Step, ...]:
        """The steps, with as many of their epochs as fit; how long they take is said, and what was cut.

        Args:
            made: what became of the steps ahead of the first that trains.
            minutes: what the whole run may take; None: as long as it takes.

        Raises:
            UserError: minutes for a distributed run, whose speed a trial of one process doesn't show.
        """
        if processes() > 1:
            if minutes is not None:
                raise UserError("minutes are for a run of one process: leave them out, and set epochs")
            return self.steps
        known = _share(out, self._digest(), minutes)
        steps = _shortened(self.steps, known, self._rows) if known is not None else self.steps
        there, todo = _sorted(steps, made.bundles, out)
        if not any(self._trains(step) for step in todo):
            return steps
        pace = self._pace(todo, there, say)
        if pace is None:
            return steps
        say(f"{self._estimate(todo, pace)}{', if made one after the other' if self.side_by_side else ''}")
        if minutes is None or known is not None:
            return steps
        return self._fitted(self._estimate(self.steps, pace), out, say, minutes)

    def _fitted(self, whole: Estimate, out: Path, say: Say, minutes: float) -> tuple[Step, ...]:
        fits = whole.share_for(minutes)
        share = max(LEAST, fits)
        write_durably(
            out / FILE, Fitted(minutes=minutes, recipe=self._digest(), share=share).model_dump_json(indent=1) + "\n"
        )
        steps = _shortened(self.steps, share, self._rows)
        cut = [line for old, new in zip(self.steps, steps, strict=True) for line in _cuts(old, new)]
        if cut:
            say(f"to fit into {minutes:g} minutes: {', '.join(cut)}; with fewer epochs less is learnt")
        if fits < LEAST:
            say(f"it won't fit into {minutes:g} minutes: what isn't training takes about {whole.apart / 60:.1f} alone")
        return steps

    def _trains(self, step: Step) -> bool:
        effort = step.stage.effort(self._source(step), self._rows)
        return effort is not None and effort.training > 0

    @cached_property
    def _rows(self) -> int:
        """Training texts of the task; 0 where the recipe has none."""
        return len(self.task.load("train")) if self.task is not None else 0

    def _source(self, step: Step) -> Outline | None:
        return self.outlines.get(step.source) if step.source else None

    def _estimate(self, steps: Sequence[Step], pace: float) -> Estimate:
        return estimate(steps, self.outlines, self._rows, pace, len(steps) if self.measured else 0)

    def _pace(self, steps: Sequence[Step], bundles: Mapping[str, Bundle], say: Say) -> float | None:
        """Seconds of a text through one layer, by the first step that can be tried; None where none can."""
        ready = [step for step in steps if step.source in bundles and self._trains(step)]
        if self.task is None or not ready:
            return None
        trial = partial(ready[0].stage.pace, bundles[ready[0].source or ""])
        found = tried(f"{ready[0].name}, tried for the estimate", trial, say)
        return None if isinstance(found, Failed) else found  # the step itself will fail too, and be listed

    def _digest(self) -> str:
        said = [[step.name, step.use, step.source, step.stage.model_dump(mode="json")] for step in self.steps]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _share(out: Path, digest: str, minutes: float | None) -> float | None:
    """What an equal run found to fit; None where there was none."""
    try:
        known = Fitted.model_validate_json((out / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None
    return known.share if (known.minutes, known.recipe) == (minutes, digest) else None


def _shortened(steps: Sequence[Step], share: float, rows: int) -> tuple[Step, ...]:
    return (
        tuple(replace(step, stage=step.stage.shortened(share, rows)) for step in steps) if share < 1 else tuple(steps)
    )


def _cuts(old: Step, new: Step) -> list[str]:
    """The settings that were cut, as a line says them."""
    before, after = old.stage.model_dump(), new.stage.model_dump()
    return [
        f"{old.name} {name} {_shown(before[name])} -> {_shown(after[name])}"
        for name in before
        if before[name] != after[name]
    ]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sorted(steps: Sequence[Step], given: Mapping[str, Bundle], out: Path) -> tuple[dict[str, Bundle], list[Step]]:
    """What is made, and the steps that aren't; what follows from one of these isn't."""
    there: dict[str, Bundle] = dict(given)
    todo: list[Step] = []
    for step in steps:
        bundle = there.get(step.name)
        if bundle is None and all(name in there for name in needed(step)):
            source = there[step.source] if step.source else None
            bundle = making.made(step.use, with_bundles(step.stage, step.bundles, out), source, out / step.name)
        if bundle is None:
            todo.append(step)
        else:
            there[step.name] = bundle
    return there, todo
