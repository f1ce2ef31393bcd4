"""What the numbers under a table mean, in plain sentences; what is wrong with them stands in wrong.py."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from palmtop.eval.measuring.timed import apart
from palmtop.eval.reports import cascade_verdicts, pruning_verdicts
from palmtop.eval.reports.table import Row, Verdict, milliseconds, with_interval
from palmtop.measurement import Measurement
from palmtop.task import SHIPPED

MANY_CUT = 0.1
"""Share of the evaluation texts from which on a word is due that they are cut."""


def verdicts(rows: Sequence[Row], task: str, metric: str, task_at: str | None = None) -> tuple[Verdict, ...]:
    """One for each artefact that is slower than the baseline or than its float file, pruned or cut, or a cascade, one
    where many texts are too long, and what the floor says.

    Args:
        task_at: the task as a stage was given it, where that is known: a shipped name, or a YAML file.
    """
    slower = [Verdict(_slower(row, rows), about=row.name) for row in rows if (row.cells["speedup"].value or 1) < 1]
    pruned = pruning_verdicts.verdicts(rows)
    cascades = cascade_verdicts.verdicts(rows)
    return (*slower, *_slower_than_float(rows), *pruned, *cascades, *_cut(rows), *_floor(rows, task, metric, task_at))


def _cut(rows: Sequence[Row]) -> list[Verdict]:
    """Where so many texts are cut that the metric may be about their beginnings; rows of one length together."""
    found: dict[str, list[str]] = {}
    for row in rows:
        cut = row.numbers.get("truncated_texts")
        if cut is not None and cut.n and (cut.value or 0) >= MANY_CUT * cut.n:
            at = f"{cut.conditions['longest']} tokens" if "longest" in cut.conditions else "what is accepted"
            share = 100 * (cut.value or 0) / cut.n
            told = f"{share:.0f} % of the evaluation texts are longer than {at} and are cut"
            found.setdefault(told, []).append(row.name)
    do = (
        "if what matters can stand further on, train, distil and export with a larger max_length, as far as the model "
        "has positions, or part the texts"
    )
    return [
        Verdict(f"{told} by {', '.join(dict.fromkeys(names))}", do, about=names[0] if len(set(names)) == 1 else None)
        for told, names in found.items()
    ]


def _slower(row: Row, rows: Sequence[Row]) -> str:
    ours = row.numbers["latency_ms"]
    theirs = next(
        other
        for other in rows
        if "baseline" in other.roles
        and other.numbers.get("latency_ms")
        and other.numbers["latency_ms"].session == ours.session
        and other.numbers["latency_ms"].value is not None
    )
    against = theirs.numbers["latency_ms"]
    noise = ", within the noise of this run" if (ours.low or 0) <= (against.high or 0) else ""
    return (
        f"{row} is slower than the baseline: {milliseconds(ours.value)} ms against {milliseconds(against.value)} ms "
        f"({row.cells['speedup'].value:.2f} x{_marked(ours)}){noise}"
    )


def _slower_than_float(rows: Sequence[Row]) -> list[Verdict]:
    """Quantized files slower than the float file they were made of, in one session. (Where that is the baseline, it is
    told already.)"""
    said = []
    sources = {_place(row): row for row in reversed(rows) if "baseline" not in row.roles}
    for row in rows:
        size = row.numbers.get("model_bytes")
        source = size.conditions.get("quantized_from") if size is not None else None
        made_of = sources.get(_place(row, source)) if source is not None else None
        ours, theirs = row.numbers.get("latency_ms"), made_of.numbers.get("latency_ms") if made_of else None
        if (
            ours is None
            or theirs is None
            or ours.session != theirs.session
            or ours.is_doubtful
            or theirs.is_doubtful
            or not (ours.value or 0) > (theirs.value or 0) > 0
        ):
            continue
        if apart(ours, theirs):
            continue
        noise = ", within the noise of this run" if (ours.low or 0) <= (theirs.high or 0) else ""
        times = f"{milliseconds(ours.value)} ms against {milliseconds(theirs.value)} ms{_marked(ours)}"
        told = f"{row} is slower than {made_of}, of which it was quantized: {times}{noise}"
        said.append(Verdict(told, about=row.name))
    return said


def _marked(number: Measurement) -> str:
    return "" if number.kind == "measured" else f", {number.kind}"


def _place(row: Row, digest: str | None = None) -> tuple[str, str, int]:
    """Where a row's times are taken, and of what: of its own file, or of another."""
    return (digest or row.digest, row.target, row.machine)


def _floor(rows: Sequence[Row], task: str, metric: str, task_at: str | None) -> list[Verdict]:
    """Whether a linear model would do: it is a row, and within the best artefact's interval or above it."""
    if metric not in ("accuracy", "macro_f1", "matthews"):
        return []
    floors = [row for row in rows if "floor" in row.roles and row.cells["metric"].value is not None]
    if not floors:
        return [Verdict("floor: not measured", _make_a_floor(task, task_at))]
    kinds = {row.cells["metric"].kind for row in floors}
    others = [
        row
        for row in rows
        if "floor" not in row.roles and row.cells["metric"].value is not None and row.cells["metric"].kind in kinds
    ]
    floor, best = (max(some, key=lambda row: row.cells["metric"].value or 0, default=None) for some in (floors, others))
    if floor is None or best is None or (floor.cells["metric"].value or 0) < (best.cells["metric"].low or 0):
        return []
    megabytes = floor.cells["model_mb"].value
    size = f"a {megabytes:.2g} MB linear model" if megabytes is not None else "a linear model"
    verdict = "better" if (floor.cells["metric"].value or 0) > (best.cells["metric"].high or 1) else "as well"
    ours, theirs = with_interval(floor), with_interval(best)
    return [Verdict(f"{size} does {verdict} here: {floor.name} {ours}, best of the others {best} {theirs}")]


def _make_a_floor(task: str, task_at: str | None) -> str:
    """The command that makes one, where it is known what to name in it: a measurement knows its task by name alone."""
    shipped = {path.stem for path in SHIPPED.glob("*.yaml")}
    named = [task_at, task.split(" ", maxsplit=1)[0]]
    known = next((name for name in named if name is not None and (name in shipped or Path(name).is_file())), None)
    if known is None:
        return "add a `tfidf` step to the recipe and host_linear to its `measure: on`"
    return f"run `palmtop tfidf --task {shlex.quote(known)} --out floor`, then measure it with the others"
