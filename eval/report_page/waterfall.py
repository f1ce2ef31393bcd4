"""The waterfall of the page: from the teacher to each file, what each step cost in the metric."""

from palmtop.eval.report_page.markup import Markup, folded, not_kept, pair, paragraph, part, table
from palmtop.eval.report_page.svg import BAR, TOP, BarRow, Scale, axis, bars, block, stroke
from palmtop.eval.reports.draw_ways import TITLE, plain, signed
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.table import Step, Way
from palmtop.eval.reports.ways import ways
from palmtop.metrics import Score


def waterfall(found: Found) -> Markup:
    """The way of the file to ship, then those of the other files."""
    every = ways(found)
    if not every:
        return part(TITLE, not_kept("two measured bundles of which one was made from the other, with their folders"))
    first, *others = every
    return part(
        TITLE,
        paragraph(
            f"{found.section.metric.replace('_', ' ')}, in hundredths, of what was measured on the way to "
            f"{first.to}; a step that wasn't measured stands with the next that was. [ ]: 95 % interval of "
            "the change, paired by text."
        ),
        _drawn(first),
        *(folded(f"The way to {way.to}", _drawn(way)) for way in others),
    )


def _drawn(way: Way) -> Markup:
    values = [step.value for step in way.steps]
    room = max(0.15 * (max(values) - min(values)), 0.5)
    scale = Scale(min(values) - room, max(values) + room)
    says = "; ".join(f"{step.says} {_value(step)}" for step in way.steps)
    rows = [_bar(step, before, scale) for step, before in zip(way.steps, [None, *way.steps], strict=False)]
    whole = [f"all steps together, to {way.to}", _signed(way.total), f"{values[-1]:.1f}"]
    numbers = [[step.says, _signed(step.cost) if step.cost else "", f"{step.value:.1f}"] for step in way.steps]
    return pair(
        bars(f"{TITLE}: {way.to}", says, rows, axis(scale)),
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
    said = plain(cost.value or 0.0)
    arrow = {"-": "▼ ", "+": "▲ "}.get(said[0], "")
    return f"{arrow}{signed(cost)}"
