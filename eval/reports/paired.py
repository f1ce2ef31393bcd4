"""The difference between two runs' rows: paired by text where both runs kept their answers to the same texts, else by
their two intervals."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palmtop.errors import UserError
from palmtop.eval.measuring.answers import kept_answers
from palmtop.eval.measuring.plan import task_id
from palmtop.eval.reports.run_at import Placed, RunAt
from palmtop.measurement import Measurement
from palmtop.metrics import Score
from palmtop.task import Split, Task

AS_MEASURED = 1e-6
"""How far the difference of kept answers may lie from that of the two measured numbers, which are of the same answers
where nothing was changed since."""

SHARE_OF_RIGHT = "accuracy"
"""The metric that a paired test is about: how many texts each gets right."""
BY_CHANCE = 0.05
"""From this p on a difference may be chance."""

Marks = Float[ndarray, "texts marks"]


@dataclass(frozen=True)
class Difference:
    """One row's metric minus another's."""

    score: Score
    """Without a value where nothing can be compared; `why` says the reason."""
    paired: bool = False
    unpaired: str | None = None
    """Why it isn't paired, where it could be compared all the same."""
    chance: float | None = None
    """p of the kind's paired test, where it has one: how likely two equally good models differ so much on these texts.
    Of few texts that differ the bootstrap is too sure: where four are lost and none is won, it rules 0 out; McNemar's
    test doesn't."""

    @property
    def may_be_chance(self) -> bool:
        """Whether the paired test can't tell the two apart."""
        return self.chance is not None and self.chance >= BY_CHANCE


@dataclass
class Differences:
    """Takes them; a task's texts are read once."""

    _data: dict[str, tuple[Task, Split] | str] = field(default_factory=dict)
    _marks: dict[tuple[Path, str, str, str], Marks | str] = field(default_factory=dict)

    def of(self, metric: str, new: Placed, new_run: RunAt, old: Placed, old_run: RunAt) -> Difference:
        """The new row's metric minus the old one's, with its 95 % interval."""
        ours, theirs = _valid(metric, new, new_run), _valid(metric, old, old_run)
        if isinstance(ours, str) or isinstance(theirs, str):
            return Difference(Score(None, why=ours if isinstance(ours, str) else str(theirs)))
        if why := _not_alike(ours, theirs, old_run.label):
            return Difference(Score(None, why=why))
        taken, coarse = self._paired(metric, new, new_run, old, old_run), by_intervals(ours, theirs)
        if isinstance(taken, str):
            return Difference(coarse, unpaired=taken)
        paired, chance = taken
        if abs((paired.value or 0) - (coarse.value or 0)) > AS_MEASURED:
            return Difference(coarse, unpaired="the answers kept are not those whose numbers were measured")
        return Difference(paired, paired=True, chance=chance)

    def _paired(
        self, metric: str, new: Placed, new_run: RunAt, old: Placed, old_run: RunAt
    ) -> tuple[Score, float | None] | str:
        """The difference over the same texts, and how likely it is chance; or why not."""
        data = self._read(new.task, new_run, old_run)
        if isinstance(data, str):
            return data
        sides = [self._graded(metric, row, run, data) for row, run in ((new, new_run), (old, old_run))]
        for side in sides:
            if isinstance(side, str):
                return side
        ours, theirs = (side for side in sides if not isinstance(side, str))
        task, split = data
        if ours.shape == theirs.shape and np.array_equal(ours, theirs) and np.isfinite(ours).all():
            return Score(0.0, low=0.0, high=0.0, n=len(split)), None
        score = task.of_kind.difference(metric, ours, theirs, split.labels)
        if score.value is None:
            return score.why or "no difference can be computed of the answers kept"
        tests = task.of_kind.paired_tests(ours, theirs, split.labels) if metric == SHARE_OF_RIGHT else {}
        return score, max((test.value for test in tests.values() if test.value is not None), default=None)

    def _graded(self, metric: str, row: Placed, run: RunAt, data: tuple[Task, Split]) -> Marks | str:
        machine, (task, split) = row.numbers[metric].machine, data
        key = (run.folder.resolve(), row.digest, row.target, json.dumps([row.task, machine], sort_keys=True))
        if key not in self._marks:
            found = kept_answers(run.folder, row.digest, row.target, machine, split.digest)
            self._marks[key] = (
                f"{run.label} doesn't keep its answers any more"
                if found is None
                else task.of_kind.graded(found.outputs, split.labels, split.texts, task.label_names)
            )
        return self._marks[key]

    def _read(self, wanted: str, *runs: RunAt) -> tuple[Task, Split] | str:
        if wanted not in self._data:
            self._data[wanted] = _texts_of(wanted, runs)
        return self._data[wanted]


def by_intervals(ours: Measurement, theirs: Measurement) -> Score:
    """The difference of two numbers, its interval made of theirs as if the two were independent (Newcombe 1998, method
    10): of two models on the same texts it is wider than need be."""
    if ours.value is None or theirs.value is None:
        return Score(None, why="one of the two wasn't measured")
    value, texts = ours.value - theirs.value, [one.n for one in (ours, theirs) if one.n is not None]
    n = min(texts, default=None)
    if ours.low is None or ours.high is None or theirs.low is None or theirs.high is None:
        return Score(value, n=n)
    low = value - math.hypot(ours.value - ours.low, theirs.high - theirs.value)
    high = value + math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    return Score(value, low=low, high=high, n=n)


def _valid(metric: str, row: Placed, run: RunAt) -> Measurement | str:
    """A row's number, or why there is none."""
    found = row.numbers.get(metric)
    if found is not None and found.value is not None:
        return found
    return f"its {metric} in {run.label} is " + (f"not valid ({found.why})" if found and found.why else "not measured")


def _not_alike(ours: Measurement, theirs: Measurement, before: str) -> str | None:
    """Why two numbers of one metric say nothing beside each other; None where they do."""
    if ours.task != theirs.task:
        return f"other evaluation data: {ours.task} here, {theirs.task} in {before}"
    return ours.unlike(theirs.model_copy(update={"name": f"{theirs.name} of {before}"}))


def _texts_of(wanted: str, runs: tuple[RunAt, ...]) -> tuple[Task, Split] | str:
    """The task that measurements name so, and its evaluation rows: as a bundle in one of the runs' folders has it, or
    as a run was given it; or why they can't be read."""
    why, tried = "the evaluation data isn't known: no bundle of that task is in the run's folder", set[str]()
    for task in _tasks_of(wanted, runs):
        source = task if isinstance(task, str) else task.evaluation.model_dump_json()
        if source in tried:
            continue
        tried.add(source)
        if isinstance(task, str):
            why = task
            continue
        try:
            if task_id(task) == wanted:
                return task, task.load("evaluation")
            why = f"the evaluation data isn't what it was: it is {task_id(task)} now, and {wanted} was measured"
        except UserError as error:
            why = f"the evaluation data can't be read ({error.faults[0]})"
    return why


def _tasks_of(wanted: str, runs: tuple[RunAt, ...]) -> Iterator[Task | str]:
    """Every task of that name that the runs know of, or why one can't be read."""
    name = wanted.split(" ", maxsplit=1)[0]
    for run in runs:
        bundles = dict.fromkeys(run.folder / row.name for row in run.rows if row.task == wanted)
        for place in (*bundles, run.standing(wanted).task_at):
            try:
                task = Task.of(place) if isinstance(place, Path) else Task.find(place) if place else None
            except UserError as error:
                yield f"the evaluation data isn't known ({error.faults[0]})"
                continue
            if task is not None and task.name == name:
                yield task
