"""Comparing artefacts: one row for each on each target, what it keeps of the teacher, what it gains on the baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from palmtop import task_kinds
from palmtop.eval.measuring.timed import LINEAR, apart, other_machine, timed_at
from palmtop.eval.reports.advice import advice
from palmtop.eval.reports.choose import check_names, column_of, shown
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.notes import brief, notes
from palmtop.eval.reports.read_runs import Artefact, Gathered, gather
from palmtop.eval.reports.table import (
    NOT_BESIDE,
    NOT_COMPARABLE,
    NOT_MEASURED,
    NOT_VALID,
    WEAK_TEACHER,
    Cell,
    Row,
    Section,
)
from palmtop.eval.reports.verdicts import verdicts
from palmtop.eval.reports.wrong import weak_teacher, wrong
from palmtop.measurement import ANSWERED_FIRST, DIFFERENCE_LARGER, EXPECTED_MS, NOT_RUN, Measurement

PROBABILITY = "probability"
"""The unit of a paired test."""
MAIN = ("accuracy", "pearson", "f1")
"""The deciding metric of a run that names none."""


def compare(runs: Sequence[Path], only: Sequence[str] = (), sort: str | None = None) -> Table:
    """The table of what was measured in one or several run folders; of equal things the newest number.

    Args:
        only: the names of the rows to show, or patterns of them; all where there are none. What is wrong, and the
            sentence of what to ship, are of all rows.
        sort: the column, by its heading or its name in CSV, whose best number comes first.

    Raises:
        UserError: a run without measurements, a damaged file, a name that no row has, a column that there isn't.
    """
    views = [_View(gathered) for gathered in gather(runs)]
    check_names(only, [artefact.name for view in views for artefact in view.gathered.artefacts])
    column = (
        None
        if sort is None
        else column_of(sort, [view.metric for view in views], [metric for view in views for metric in view.further])
    )
    sections = [_section(view, only, column) for view in views]
    return Table(tuple(section for section in sections if section.rows))


@dataclass(frozen=True)
class _View:
    """A task's artefacts, seen from its baseline and teacher."""

    gathered: Gathered

    @cached_property
    def metric(self) -> str:
        known = {metric for artefact in self.gathered.artefacts for metric in artefact.numbers}
        return self.gathered.standing.metric or next((metric for metric in MAIN if metric in known), MAIN[0])

    @cached_property
    def further(self) -> list[str]:
        """The other metrics that a kind of task has, as far as they were measured."""
        kinds = map(task_kinds.find, task_kinds.names())
        every = dict.fromkeys(metric for kind in kinds for metric in (*kind.metrics, *kind.times))
        known = {metric for artefact in self.gathered.artefacts for metric in artefact.numbers}
        return [metric for metric in every if metric in known and metric != self.metric]

    @cached_property
    def baselines(self) -> list[Artefact]:
        """The baseline on each of its targets; where no run names one, the first .tflite."""
        first = next((artefact.name for artefact in self.gathered.artefacts if artefact.format == "tflite"), None)
        return self.gathered.named(self.gathered.standing.baseline or first)

    @cached_property
    def teachers(self) -> list[Artefact]:
        return self.gathered.named(self.gathered.standing.teacher)

    def nearest(self, artefact: Artefact, known: Sequence[Artefact]) -> Artefact | None:
        """Of one bundle on several targets the one that an artefact is set against: of its kind of number, on its own
        target and machine, as far as there is one; else the first."""
        kind = artefact.kind_of(self.metric)
        return min(
            known,
            key=lambda one: (
                one.kind_of(self.metric) != kind,
                one.target != artefact.target,
                one.machine != artefact.machine,
            ),
            default=None,
        )


def _section(view: _View, only: Sequence[str], column: str | None) -> Section:
    every = _without_shares([_row(view, artefact) for artefact in view.gathered.artefacts])
    rows, task, metric = shown(every, only, column), view.gathered.task, view.metric
    names = {None, *(row.name for row in rows)}
    baseline = view.baselines[0].name if view.baselines else None
    machines, besides = tuple(view.gathered.machines), (*_missing(view), *view.gathered.conflicts)
    told = verdicts(every, task, metric, view.gathered.standing.task_at)
    return Section(
        task,
        metric,
        rows,
        machines,
        (*notes(rows, task, machines, baseline), *besides) if rows else (),
        (*wrong(every, metric), *(verdict for verdict in told if verdict.about in names)),
        (*brief(rows, metric, machines, baseline), *besides) if rows else (),
        advice(every, metric),
    )


def _missing(view: _View) -> list[str]:
    """What the run should have had and couldn't make, by name; another run may have it."""
    there = {artefact.name for artefact in view.gathered.artefacts}
    return [f"missing: {name}: {why}" for name, why in view.gathered.standing.missing.items() if name not in there]


def _without_shares(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows; of a teacher that is worse than a linear model or than its student, no share is told."""
    weak = weak_teacher(rows)
    if not weak:
        return tuple(rows)
    word = Cell(word=WEAK_TEACHER, why=weak[0].says)
    return tuple(
        row if row.cells["kept_percent"].value is None else replace(row, cells=row.cells | {"kept_percent": word})
        for row in rows
    )


def _row(view: _View, artefact: Artefact) -> Row:
    roles = {
        "baseline": artefact in view.baselines,
        "teacher": artefact in view.teachers,
        "floor": artefact.format == LINEAR,
    }
    size = artefact.numbers.get("model_bytes")
    precision = str(size.conditions.get("precision", NOT_MEASURED)) if size else NOT_MEASURED
    return Row(
        artefact.name,
        artefact.digest,
        artefact.format,
        precision,
        artefact.target,
        artefact.machine,
        tuple(role for role, played in roles.items() if played),
        _cells(view, artefact),
        artefact.numbers,
        {metric: _further(artefact, metric) for metric in view.further},
    )


def _further(artefact: Artefact, metric: str) -> Cell:
    """Another metric than the one that decides."""
    cell = _cell(artefact, metric)
    if any(number.kind == NOT_RUN for number in artefact.numbers.values()):
        return Cell(word=NOT_RUN)
    return Cell(word=NOT_VALID, why=cell.why, n=cell.n) if cell.why else cell


def _cells(view: _View, artefact: Artefact) -> dict[str, Cell]:
    times = {
        name: _cell(artefact, name)
        for name in (
            "latency_ms",
            "latency_p90_ms",
            "latency_p99_ms",
            "tokenize_ms",
            "text_latency_ms",
            "load_ms",
            "memory_mb",
            EXPECTED_MS,
        )
    }
    found = times | {
        "model_mb": _cell(artefact, "model_bytes", 1e-6),
        "download_mb": _cell(artefact, "download_bytes", 1e-6),
        "gzip_mb": _cell(artefact, "gzip_bytes", 1e-6),
        "nonzero_percent": _nonzero(artefact),
        "metric": _metric(view, artefact),
        "difference_points": _difference(view, artefact),
        "paired_p": _paired_test(view, artefact),
        "kept_percent": _kept(view, artefact),
        "agreement_torch": _with_torch(artefact),
        "agreement_teacher": _with_teacher(view, artefact),
        "speedup": _speedup(view, artefact),
        "timed_at": _timed_at(artefact),
        "answered_first": _of_cascade(artefact, ANSWERED_FIRST),
        "larger_points": _of_cascade(artefact, DIFFERENCE_LARGER),
    }
    if any(number.kind == NOT_RUN for number in artefact.numbers.values()):
        return {name: cell if cell.value is not None else Cell(word=NOT_RUN) for name, cell in found.items()}
    return found


def _cell(artefact: Artefact, metric: str, scale: float = 1.0) -> Cell:
    found = artefact.numbers.get(metric)
    if found is None:
        return Cell(word=NOT_MEASURED)
    if found.value is None:
        return Cell(word=NOT_MEASURED, why=found.why, n=found.n)
    if found.is_doubtful:
        return Cell(word=NOT_VALID, why=found.why, n=found.n)
    return _scaled(found, found.value, scale)


def _nonzero(artefact: Artefact) -> Cell:
    """Per cent of the weights; `n` is how many there are."""
    counted = artefact.numbers.get("nonzeros")
    return _cell(artefact, "nonzeros", 100 / counted.n if counted is not None and counted.n else 1)


def _of_cascade(artefact: Artefact, metric: str) -> Cell:
    """In hundredths; of one model there is no such thing."""
    return (
        _cell(artefact, metric, 100)
        if ANSWERED_FIRST in artefact.numbers
        else Cell(word=NOT_COMPARABLE, why="it is one model")
    )


def _scaled(found: Measurement, value: float, scale: float) -> Cell:
    low, high = (None if bound is None else bound * scale for bound in (found.low, found.high))
    return Cell(value * scale, low, high, found.n, kind=found.kind)


def _metric(view: _View, artefact: Artefact) -> Cell:
    cell = _cell(artefact, view.metric)
    return Cell(word=NOT_VALID, why=cell.why, n=cell.n) if cell.why else cell


def _difference(view: _View, artefact: Artefact) -> Cell:
    """In points. Paired, with an interval, where both were answered in one run; else the plain difference."""
    if artefact in view.baselines:
        return Cell(word="baseline")
    baseline, paired = view.nearest(artefact, view.baselines), artefact.numbers.get("difference_baseline")
    if baseline is None:
        return Cell(word=NOT_COMPARABLE, why="there is no baseline")
    ours, theirs = artefact.numbers.get(view.metric), baseline.numbers.get(view.metric)
    if ours and theirs and (why := ours.unlike(theirs)):
        return Cell(word=NOT_COMPARABLE, why=why)
    if paired is not None and paired.value is not None and paired.conditions.get("with") == baseline.digest:
        return _scaled(paired, paired.value, 100)
    return _plain_difference(ours, theirs)


def _paired_test(view: _View, artefact: Artefact) -> Cell:
    """p of the kind's paired test against the baseline, where it was taken in one run with it; of several the
    largest."""
    if artefact in view.baselines:
        return Cell(word="baseline")
    baseline = view.nearest(artefact, view.baselines)
    taken = [
        number
        for number in artefact.numbers.values()
        if number.unit == PROBABILITY and baseline is not None and number.conditions.get("with") == baseline.digest
    ]
    known = [number for number in taken if number.value is not None]
    if not known:
        return Cell(word=NOT_MEASURED, why=taken[0].why if taken else None)
    largest = max(known, key=lambda number: number.value or 0)
    return _scaled(largest, largest.value or 0.0, 1.0)


def _plain_difference(ours: Measurement | None, theirs: Measurement | None) -> Cell:
    if ours is None or theirs is None or ours.value is None or theirs.value is None:
        return Cell(word=NOT_COMPARABLE)
    if why := ours.other_sample(theirs):
        return Cell(word=NOT_COMPARABLE, why=why)
    return Cell((ours.value - theirs.value) * 100, kind=ours.kind)


def _kept(view: _View, artefact: Artefact) -> Cell:
    """Per cent of the teacher's metric."""
    teacher = view.nearest(artefact, view.teachers)
    ours, theirs = (one.numbers.get(view.metric) if one else None for one in (artefact, teacher))
    if ours is None or theirs is None or ours.value is None or theirs.value is None:
        return Cell(word=NOT_COMPARABLE, why="the metric of the one or the other isn't there")
    if why := ours.unlike(theirs) or ours.other_sample(theirs):
        return Cell(word=NOT_COMPARABLE, why=why)
    if theirs.value <= 0:
        return Cell(word=NOT_COMPARABLE, why="the teacher's own metric isn't positive")
    return Cell(100 * ours.value / theirs.value, kind=ours.kind)


def _with_torch(artefact: Artefact) -> Cell:
    if artefact.format in ("torch", LINEAR):
        return Cell(word="itself" if artefact.format == "torch" else "no torch model")
    return _cell(artefact, "agreement_torch")


def _with_teacher(view: _View, artefact: Artefact) -> Cell:
    if artefact in view.teachers:
        return Cell(word="itself")
    found = artefact.numbers.get("agreement_teacher")
    teachers = {teacher.digest for teacher in view.teachers}
    if found is not None and teachers and found.conditions.get("with") not in teachers:
        return Cell(word=NOT_MEASURED, why="it was compared with another teacher")
    return _cell(artefact, "agreement_teacher")


def _timed_at(artefact: Artefact) -> Cell:
    """Tokens of a timed answer, padding included."""
    latency = artefact.numbers.get("latency_ms")
    if latency is None or latency.value is None:
        return Cell(word=NOT_MEASURED)
    if artefact.format == LINEAR:
        return Cell(word="not padded")
    tokens = timed_at(latency)
    return Cell(tokens) if isinstance(tokens, int) else Cell(word=tokens or NOT_MEASURED)


def _speedup(view: _View, artefact: Artefact) -> Cell:
    """The baseline's median by the artefact's; only of one session, in which both took turns, and of equal lengths and
    threads."""
    if artefact in view.baselines:
        return Cell(word="baseline")
    ours = artefact.numbers.get("latency_ms")
    if ours is None or ours.value is None:
        return Cell(word=NOT_MEASURED)
    if ours.is_doubtful:
        return Cell(word=NOT_VALID, why=ours.why)
    theirs = [baseline.numbers["latency_ms"] for baseline in view.baselines if "latency_ms" in baseline.numbers]
    beside = next(
        (latency for latency in theirs if latency.session == ours.session and latency.value is not None), None
    )
    if beside is None or beside.value is None or beside.is_doubtful:
        return Cell(word=NOT_COMPARABLE, why=_not_beside(ours, theirs))
    why = apart(ours, beside)
    return Cell(beside.value / ours.value, kind=ours.kind) if why is None else Cell(word=NOT_COMPARABLE, why=why)


def _not_beside(ours: Measurement, theirs: Sequence[Measurement]) -> str:
    """Why a latency took turns with none of the baseline's: on another machine, or of another kind, it can't."""
    never = [ours.unlike(one) or other_machine(ours, one) for one in theirs]
    return next(filter(None, never), NOT_BESIDE) if None not in never else NOT_BESIDE
