"""A run against another, or against itself as it was: rows of one name and target side by side, and which got worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

from palmtop import task_kinds
from palmtop.errors import UserError
from palmtop.eval.measuring.timed import apart
from palmtop.eval.reports.choose import check_names
from palmtop.eval.reports.paired import Difference, Differences
from palmtop.eval.reports.run_at import Placed, RunAt, dates, find
from palmtop.eval.reports.table import NOT_COMPARABLE, NOT_MEASURED, Cell
from palmtop.measurement import Measurement

Verdict = Literal["worse", "same", "better", "not comparable"]

UNKNOWN: Verdict = "not comparable"
SAID: tuple[Verdict, ...] = ("worse", "better", "same")
BYTES_NOTICED = 0.01
"""Files whose sizes differ by no larger share are of the same size to whoever fetches them."""
TIME_NOTICED = 0.1
"""Two sessions on one machine differ by so much where nothing was changed: what else runs there differs."""


@dataclass(frozen=True)
class Pair:
    """A bundle on a target, in the new run and in the old one."""

    name: str
    target: str
    task: str
    """That of the new run."""
    metric: str
    new: Placed
    old: Placed
    new_run: str
    old_run: str
    """What the runs are called."""
    difference: Difference
    """New minus old, in the metric's own unit."""
    size_ratio: Cell
    """New bytes by old ones."""
    time_ratio: Cell
    """New median latency by the old one, its interval from the ends of theirs; only of equal work on one machine."""

    def __str__(self) -> str:
        return f"{self.name} on {self.target}"

    @property
    def points(self) -> Cell:
        """The difference in points, hundredths of the metric."""
        score = self.difference.score
        if score.value is None:
            return Cell(word=NOT_COMPARABLE, why=score.why, n=score.n)
        low, high = (None if end is None else 100 * end for end in (score.low, score.high))
        return Cell(100 * score.value, low, high, score.n, kind=self.new.numbers[self.metric].kind)

    @property
    def is_same_file(self) -> bool:
        """Whether both runs have the very same bundle."""
        return self.new.digest == self.old.digest

    @property
    def lost_its_metric(self) -> bool:
        """Whether the new run tried to take the metric and couldn't: an answer that is no number, most likely."""
        tried = self.new.numbers.get(self.metric)
        return tried is not None and tried.value is None and self.old.number(self.metric) is not None

    @cached_property
    def by_aspect(self) -> dict[str, Verdict]:
        """The verdict on the metric, on MB and on ms; each beyond doubt, and beyond what nobody would notice."""
        metric = _of_interval(self.points, 0, 0, more_is_better=True)
        if self.difference.may_be_chance and metric != UNKNOWN:
            metric = "same"
        slower = self.time_ratio
        if self.is_same_file:  # what takes longer then is the machine or the runtime
            slower = Cell(word=NOT_COMPARABLE)
        return {
            self.metric: "worse" if self.lost_its_metric else metric,
            "MB": _of_interval(self.size_ratio, 1 / (1 + BYTES_NOTICED), 1 + BYTES_NOTICED),
            "ms": _of_interval(slower, 1 / (1 + TIME_NOTICED), 1 + TIME_NOTICED),
        }

    @property
    def verdict(self) -> Verdict:
        """worse where any aspect got worse; not comparable where the metric isn't, of a file that answers; else better
        where one got better."""
        found = self.by_aspect
        if "worse" in found.values():
            return "worse"
        if found[self.metric] == UNKNOWN and (self.metric in self.new.numbers or self.metric in self.old.numbers):
            return UNKNOWN
        known: tuple[Verdict, ...] = ("better", "same")
        return next((verdict for verdict in known if verdict in found.values()), UNKNOWN)

    def said_briefly(self) -> str:
        """The verdict as a table shows it: 'worse in accuracy', 'same'."""
        changed = [what.replace("_", " ") for what, of in self.by_aspect.items() if of == self.verdict]
        return f"{self.verdict} in {', '.join(changed)}" if self.verdict in ("worse", "better") else self.verdict

    def said(self) -> str:
        """The verdict with what was compared: 'worse in accuracy, same in MB'."""
        by: dict[Verdict, list[str]] = {"worse": [], "better": [], "same": []}
        for what, of in self.by_aspect.items():
            by.setdefault(of, []).append(what.replace("_", " "))
        shown = [f"{verdict} in {' and '.join(what)}" for verdict, what in by.items() if what and verdict in SAID]
        alone = self.verdict == NOT_COMPARABLE
        return ", ".join([*([f"{NOT_COMPARABLE} in {self.metric.replace('_', ' ')}"] if alone else []), *shown])


@dataclass(frozen=True)
class Against:
    """Two runs side by side."""

    new: RunAt
    old: RunAt
    pairs: tuple[Pair, ...]
    only_new: tuple[Placed, ...]
    only_old: tuple[Placed, ...]

    def of(self, verdict: Verdict) -> tuple[Pair, ...]:
        """The pairs with this verdict."""
        return tuple(pair for pair in self.pairs if pair.verdict == verdict)


def against(new: str, old: str, only: Sequence[str] = ()) -> Against:
    """Compare a run with another one, each given as RUN or RUN@DATE.

    Args:
        only: names of rows, or patterns of them; all where there are none.

    Raises:
        UserError: no measurements, no such date, both the same, or a name that no row has.
    """
    runs = find(new), find(old)
    if runs[0].folder.resolve() == runs[1].folder.resolve() and runs[0].rows == runs[1].rows:
        raise UserError(
            f"{old} is what {new} is: nothing was measured between them; name another run, or this one as it stood on "
            f"an earlier day; {dates(runs[1].folder, runs[1].when)}"
        )
    check_names(only, [row.name for run in runs for row in run.rows])
    ours, theirs = (chosen(run, only) for run in runs)
    pairs, taken = _paired(ours, theirs), Differences()
    places = {_place(row) for row, _ in pairs}
    return Against(
        *runs,
        tuple(_pair(one, other, *runs, taken) for one, other in pairs),
        *(tuple(row for row in side if _place(row) not in places) for side in (ours, theirs)),
    )


def chosen(run: RunAt, only: Sequence[str]) -> list[Placed]:
    """The rows whose name is like one of `only`; all where it is empty."""
    return [row for row in run.rows if not only or any(fnmatchcase(row.name, word) for word in only)]


def metric_of(row: Placed, run: RunAt) -> str:
    """The metric that decides for a row: what its run says, else the first of any kind of task that it has."""
    said = run.standing(row.task).metric
    every = (metric for kind in task_kinds.names() for metric in task_kinds.find(kind).metrics)
    return said or next((metric for metric in every if metric in row.numbers), "metric")


def _place(row: Placed) -> tuple[str, str, str]:
    """What two rows have in common that are set side by side: the task, whatever its data, the name, the target."""
    return row.task.split(" ", maxsplit=1)[0], row.name, row.target


def _paired(ours: Sequence[Placed], theirs: Sequence[Placed]) -> list[tuple[Placed, Placed]]:
    """Each new row with the old one of its name: of the same evaluation data and machine, as far as there is
    one."""
    known: dict[tuple[str, str, str], list[Placed]] = {}
    for row in theirs:
        known.setdefault(_place(row), []).append(row)
    return [
        (row, max(beside, key=lambda old, row=row: (old.task == row.task, old.machine == row.machine)))  # type: ignore[misc]  # mypy can't see a default in a lambda
        for row in ours
        if (beside := known.get(_place(row)))
    ]


def _pair(new: Placed, old: Placed, new_run: RunAt, old_run: RunAt, taken: Differences) -> Pair:
    metric = metric_of(new, new_run)
    return Pair(
        new.name,
        new.target,
        new.task,
        metric,
        new,
        old,
        new_run.label,
        old_run.label,
        taken.of(metric, new, new_run, old, old_run),
        _size_ratio(new, old),
        _time_ratio(new, old, old_run.label),
    )


def _size_ratio(new: Placed, old: Placed) -> Cell:
    ours, theirs = (row.number("model_bytes") for row in (new, old))
    if ours is None or theirs is None or not ours.value or not theirs.value:
        return Cell(word=NOT_MEASURED)
    ratio = ours.value / theirs.value
    return Cell(ratio, ratio, ratio)


def _time_ratio(new: Placed, old: Placed, before: str) -> Cell:
    ours, theirs = (row.number("latency_ms") for row in (new, old))
    if ours is None or theirs is None or not ours.value or not theirs.value:
        return Cell(word=NOT_MEASURED)
    if why := apart(ours, theirs.model_copy(update={"name": f"{theirs.name} of {before}"})):
        return Cell(word=NOT_COMPARABLE, why=why)
    low, high = _ends(ours, theirs)
    return Cell(ours.value / theirs.value, low, high, kind=ours.kind)


def _ends(ours: Measurement, theirs: Measurement) -> tuple[float | None, float | None]:
    """The least and the largest ratio of two medians that their intervals leave room for."""
    if not ours.low or not ours.high or not theirs.low or not theirs.high:
        return None, None
    return ours.low / theirs.high, ours.high / theirs.low


def _of_interval(cell: Cell, least: float, most: float, *, more_is_better: bool = False) -> Verdict:
    """Whether a whole interval lies above or below what counts as the same."""
    if cell.value is None or cell.low is None or cell.high is None:
        return UNKNOWN
    if cell.low > most:
        return "better" if more_is_better else "worse"
    if cell.high < least:
        return "worse" if more_is_better else "better"
    return "same"
