"""The waterfall as text: teacher 93.1 -> 3 layers -0.6 -> int8 -0.2."""

from typing import Any

from palmtop.eval.reports.markdown import bullets
from palmtop.eval.reports.table import Section, Step, Way
from palmtop.metrics import Score

TITLE = "What each step cost"


def lines(section: Section) -> list[str]:
    """A line for each file, under a heading; nothing where no ways are told."""
    if not section.ways:
        return []
    about = (
        f"{section.metric.replace('_', ' ')}, in hundredths; a step that wasn't measured stands with the next that "
        "was. [ ]: 95 % interval of the change, paired by text"
    )
    return ["", f"### {TITLE}", "", f"{about}.", "", *bullets(map(_line, section.ways))]


def as_fields(way: Way) -> dict[str, Any]:
    """As JSON has it."""
    steps = [
        {"name": step.row.name, "digest": step.row.digest, "target": step.row.target} | _said(step)
        for step in way.steps
    ]
    return {"to": way.to, "steps": steps, "change": _change(way.total)}


def signed(cost: Score) -> str:
    """A change with its interval, where it has one."""
    ends = "" if cost.low is None or cost.high is None else f" [{plain(cost.low)}, {plain(cost.high)}]"
    return f"{plain(cost.value or 0.0)}{ends}"


def plain(value: float) -> str:
    """With its sign; of nothing none."""
    return f"{value:+.1f}" if round(value, 1) else "0.0"


def _line(way: Way) -> str:
    steps = [f"{step.says} {f'{step.value:.1f}' if step.cost is None else signed(step.cost)}" for step in way.steps]
    return f"{' -> '.join(steps)} = {way.steps[-1].value:.1f}, all together {signed(way.total)}"


def _said(step: Step) -> dict[str, Any]:
    return {"says": step.says, "value": step.value, "change": None if step.cost is None else _change(step.cost)}


def _change(cost: Score) -> dict[str, Any]:
    return {"value": cost.value, "low": cost.low, "high": cost.high, "n": cost.n}
