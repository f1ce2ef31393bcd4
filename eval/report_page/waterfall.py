"""From the teacher to a file, step by step: what each step on the file's way cost in the metric."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from palmtop import format as file_format
from palmtop.bundle import Ancestor
from palmtop.eval.report_page.found import Found
from palmtop.eval.report_page.markup import Markup, folded, not_kept, pair, paragraph, part, table
from palmtop.eval.report_page.svg import BAR, TOP, BarRow, Scale, axis, bars, block, stroke
from palmtop.eval.reports.table import Row
from palmtop.metrics import Score
from palmtop.task_kinds.kind import Labels

TITLE = "What each step cost"
DETAILS: Mapping[str, Callable[[Any], str]] = {
    "layers_copied": lambda layers: f"{len(layers)} layers",
    "tokens_after": lambda tokens: f"{tokens:,} tokens",
}
"""What a card's facts say of a step, by the fact."""


@dataclass(frozen=True)
class Step:
    """A measured step of the way."""

    row: Row
    says: str
    value: float
    """The metric after it, in hundredths."""
    cost: Score | None
    """How much it changed the metric, in hundredths; paired by text where both answered and the texts are there. None
    for the first."""


def waterfall(found: Found) -> Markup:
    """The way of the file to ship, then those of the other files."""
    ways = [(row, way) for row in _ends(found) if len(way := steps(found, row)) > 1]
    if not ways:
        return part(TITLE, not_kept("two measured bundles of which one was made from the other, with their folders"))
    first, shown = next((pair for pair in ways if pair[0] == found.advised), ways[0])
    rest = [folded(f"The way to {found.shown(row)}", _drawn(found, row, way)) for row, way in ways if row != first]
    return part(
        TITLE,
        paragraph(
            f"{found.section.metric.replace('_', ' ')}, in hundredths, of what was measured on the way to "
            f"{found.shown(first)}; a step that wasn't measured stands with the next that was. [ ]: 95 % interval of "
            "the change, paired by text."
        ),
        _drawn(found, first, shown),
        *rest,
    )


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


def _drawn(found: Found, end: Row, way: list[Step]) -> Markup:
    values = [step.value for step in way]
    room = max(0.15 * (max(values) - min(values)), 0.5)
    scale = Scale(min(values) - room, max(values) + room)
    says = "; ".join(f"{step.says} {_value(step)}" for step in way)
    rows = [_bar(step, before, scale) for step, before in zip(way, [None, *way], strict=False)]
    total = change(found, way[-1].row, way[0].row)
    whole = [f"all steps together, to {found.shown(end)}", _signed(total), f"{way[-1].value:.1f}"]
    numbers = [[step.says, _signed(step.cost) if step.cost else "", f"{step.value:.1f}"] for step in way]
    return pair(
        bars(f"{TITLE}: {found.shown(end)}", says, rows, axis(scale)),
        table("Change by step, in hundredths of the metric", ["step", "change", "after it"], [*numbers, whole]),
    )


def _bar(step: Step, before: Step | None, scale: Scale) -> BarRow:
    at = scale(step.value)
    if before is None or step.value == before.value:
        return BarRow(step.says, _value(step), [block(at - 2, at + 2, "bar"), _down(at)])
    change_is = "fall" if step.value < before.value else "rise"
    return BarRow(step.says, _value(step), [block(scale(before.value), at, change_is), _down(at)])


def _down(at: float) -> Markup:
    """The line that leads to where the next step begins."""
    return stroke(at, TOP + BAR, at, TOP + BAR + 9, "axis")


def _value(step: Step) -> str:
    return f"{step.value:.1f}" if step.cost is None else _signed(step.cost)


def _signed(cost: Score) -> str:
    value = cost.value or 0.0
    arrow = "▼ " if round(value, 1) < 0 else "▲ " if round(value, 1) > 0 else ""
    ends = "" if cost.low is None or cost.high is None else f" [{_plain(cost.low)}, {_plain(cost.high)}]"
    return f"{arrow}{_plain(value)}{ends}"


def _plain(value: float) -> str:
    """With its sign; of nothing none."""
    return f"{value:+.1f}" if round(value, 1) else "0.0"
