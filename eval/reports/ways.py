"""From the teacher to a file, step by step: what each step on the file's way cost in the metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from palmtop import format as file_format
from palmtop.bundle import Ancestor
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.found import Found, kept_bundles
from palmtop.eval.reports.table import Row, Section, Step, Way
from palmtop.metrics import Score
from palmtop.task_kinds.kind import Labels

DETAILS: Mapping[str, Callable[[Any], str]] = {
    "layers_copied": lambda layers: f"{len(layers)} layers",
    "tokens_after": lambda tokens: f"{tokens:,} tokens",
}
"""What a card's facts say of a step, by the fact."""


def with_ways(table: Table, runs: Sequence[Path]) -> Table:
    """The table with the way to each file, as far as the runs' folders still have bundles and answers.

    Args:
        runs: those that the table is of.
    """
    folders = [run for run in runs if run.is_dir()]
    bundles = {digest: bundle for run in folders for digest, bundle in kept_bundles(run)[0].items()}

    def told(section: Section) -> Section:
        first, *others = folders
        return replace(section, ways=tuple(ways(Found(first, section, bundles, tuple(others)))))

    return replace(table, sections=tuple(map(told, table.sections))) if folders else table


def ways(found: Found) -> list[Way]:
    """The way to each file of which one step at least was measured before it, that of the file to ship first."""
    ends = sorted(_ends(found), key=lambda row: row != found.advised)  # stable
    every = [(row, steps(found, row)) for row in ends]
    return [
        Way(found.shown(row), tuple(made), change(found, made[-1].row, made[0].row))
        for row, made in every
        if len(made) > 1
    ]


def steps(found: Found, end: Row) -> list[Step]:
    """The measured steps of the way to a row, the first of them without a cost. A file that was measured on several
    targets has a last step from its format's own to the row's."""
    rows = _at_home(found)
    made: list[Step] = []
    waiting: list[str] = []
    for ancestor in found.lineage(end):
        waiting.append(_says(found, ancestor))
        row = rows.get(ancestor.digest)
        if row is not None:
            made.append(_step(found, row, waiting, made[-1].row if made else None))
            waiting = []
    elsewhere = made and made[-1].row != end and made[-1].row.digest == end.digest
    return [*made, _step(found, end, ["the same file"], made[-1].row)] if elsewhere else made


def _at_home(found: Found) -> dict[str, Row]:
    """Of each digest the measured row that its way goes by: on its format's own target, else the first."""
    known: dict[str, Row] = {}
    for row in found.rows:
        at_home = row.format in file_format.names() and row.target == file_format.find(row.format).target
        if row.cells["metric"].value is not None and (at_home or row.digest not in known):
            known[row.digest] = row
    return known


def _step(found: Found, row: Row, waiting: list[str], before: Row | None) -> Step:
    value = 100 * (row.cells["metric"].value or 0)
    if before is None:
        return Step(row, found.shown(row), value, None)
    runs = f", run on {row.target}" if row.target != before.target else ""
    cost = change(found, row, before)
    return Step(row, f"{found.shown(row)}: {' + '.join(waiting)}{runs}", value, cost)


def change(found: Found, row: Row, before: Row) -> Score:
    """By how much a row's metric is above another's, in hundredths."""
    ours, theirs = found.answers(row), found.answers(before)
    if found.data is not None and ours is not None and theirs is not None:
        task, split = found.data.task, found.data.split
        labels: Labels = split.labels
        kind = task.of_kind
        graded, other = (kind.graded(side, labels, split.texts, task.label_names) for side in (ours, theirs))
        score = kind.difference(found.section.metric, graded, other, labels)
        if score.value is not None:
            low, high = (None if bound is None else 100 * bound for bound in (score.low, score.high))
            return Score(100 * score.value, "1", low, high, score.n)
    after, earlier = (one.cells["metric"].value or 0 for one in (row, before))
    return Score(100 * (after - earlier))


def _says(found: Found, step: Ancestor) -> str:
    """A step as its stage is called, with what its bundle's card says was done."""
    bundle = found.bundles.get(step.digest)
    facts = bundle.card.facts if bundle is not None else {}
    details = [say(facts[name]) for name, say in DETAILS.items() if facts.get(name)]
    details += [str(facts["precision"])] if step.effect == "rounds" and "precision" in facts else []
    return f"{step.stage} ({', '.join(details)})" if details else step.stage


def _ends(found: Found) -> list[Row]:
    """The rows of files, from which nothing else that was measured was made; the smallest first."""
    parents = {ancestor.digest for row in found.rows for ancestor in found.lineage(row)[:-1]}
    ends = [row for row in found.rows if row.digest not in parents and row.cells["metric"].value is not None]
    return sorted(ends, key=lambda row: row.cells["model_mb"].value or 0)
