"""The picture of a table: what each file costs, in bytes and in milliseconds, against what it keeps; SVG or PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.errors import UserError
from palmtop.eval import picture_file
from palmtop.eval.reports.chart import STYLES
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.table import Row, Section
from palmtop.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEAR, ALIKE = 1.15, 0.004
"""Points closer than this factor across and this much up share one label, or their numbers would lie on each other."""


@dataclass(frozen=True)
class Dot:
    """A measured file in a panel."""

    row: Row
    across: float
    """MB or milliseconds."""
    value: float
    """The deciding metric."""
    low: float
    high: float


def picture(table: Table, path: Path) -> str:
    """Draw the table's first task into a file, and return a line that says what isn't in it.

    Raises:
        UserError: another ending than .svg or .png, matplotlib isn't installed, or nothing there can be drawn.
    """
    picture_file.check(path)
    section = next(iter(table.sections), None)
    sizes = dots(section, "model_mb") if section is not None else []
    if section is None or not sizes:
        raise UserError("there is nothing to draw: no file has both a size and a valid metric")
    times = dots(section, "latency_ms")
    formats = list(dict.fromkeys(row.format for row in section.rows))
    with picture_file.figure(path, 11, 4.2, 160, 9) as figure:
        first, second, key = figure.subplots(1, 3, width_ratios=(4, 4, 2))
        second.sharey(first)
        numbers = {name: place for place, name in enumerate(dict.fromkeys(row.name for row in section.rows), 1)}
        _panel(first, sizes, formats, "MB of the model (log scale)", numbers)
        first.set_ylabel(section.metric.replace("_", " "))
        _panel(second, times, formats, f"ms a text{_timed(times)} (log scale)", numbers)
        key.axis("off")
        key.text(0, 1, "\n".join(f"{number}  {name}" for name, number in numbers.items()), va="top", fontsize=8.5)
        figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=len(formats), frameon=False)
        figure.suptitle(f"{section.task.split(' ')[0]}: what each file costs and keeps", x=0.01, ha="left", fontsize=11)
    return _left_out(section, times)


def dots(section: Section, column: str) -> list[Dot]:
    """The rows that have a measured metric and a number in the column; of milliseconds only those that were timed side
    by side with the baseline, at its length and threads."""
    return [
        Dot(row, across, value, *(value if bound is None else bound for bound in (cell.low, cell.high)))
        for row in section.rows
        if (cell := row.cells["metric"]).kind == "measured"
        and (value := cell.value) is not None
        and (across := row.cells[column].value)
        and (column != "latency_ms" or _beside(row))
    ]


def names(found: Sequence[Dot], numbers: Mapping[str, int]) -> list[tuple[Dot, str]]:
    """The number of each dot's row, and those of all that lie on each other together, at the first of them."""
    told: list[tuple[Dot, list[int]]] = []
    for dot in sorted(found, key=lambda dot: dot.across):
        number = numbers[dot.row.name]
        beside = next((together for first, together in told if _touch(first, dot)), None)
        if beside is None:
            told.append((dot, [number]))
        elif number not in beside:
            beside.append(number)
    return [(dot, ", ".join(map(str, sorted(together)))) for dot, together in told]


def _touch(first: Dot, other: Dot) -> bool:
    return other.across <= NEAR * first.across and abs(other.value - first.value) <= ALIKE


def _beside(row: Row) -> bool:
    return row.cells["speedup"].value is not None or "baseline" in row.roles


def _panel(axes: "Axes", found: Sequence[Dot], formats: Sequence[str], across: str, numbers: Mapping[str, int]) -> None:
    for form, (colour, marker) in zip(formats, STYLES * len(formats), strict=False):
        mine = [dot for dot in found if dot.row.format == form]
        if mine:
            axes.errorbar(
                [dot.across for dot in mine],
                [dot.value for dot in mine],
                yerr=[[dot.value - dot.low for dot in mine], [dot.high - dot.value for dot in mine]],
                fmt=marker,
                color=colour,
                markersize=6,
                elinewidth=1,
                capsize=2,
                label=form,
            )
    for dot, number in names(found, numbers):
        axes.annotate(
            number,
            (dot.across, dot.value),
            xytext=(4, 4),
            textcoords="offset points",
            color="black",
            fontsize=8,
        )
    axes.set_xscale("log")
    axes.margins(x=0.18, y=0.15)
    axes.set_xlabel(across)
    ticks = [tick for power in range(-3, 5) for tick in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)]
    low, high = axes.get_xlim()
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_xticks([], minor=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)


def _timed(times: Sequence[Dot]) -> str:
    """At which length and with how many threads; nothing where that isn't known."""
    taken: list[Measurement] = [dot.row.numbers["latency_ms"] for dot in times if "latency_ms" in dot.row.numbers]
    said = taken[0].conditions if taken else {}
    length, threads = said.get("length"), said.get("threads")
    at = f" of {length} tokens" if length is not None else ""
    return at + (f", {threads} thread{'s' if threads != 1 else ''}" if threads is not None else "")


def _left_out(section: Section, times: Sequence[Dot]) -> str:
    drawn = {(dot.row.name, dot.row.target) for dot in times}
    apart = [str(row) for row in section.rows if (row.name, row.target) not in drawn]
    return f"not timed side by side with the baseline, so among the sizes only: {', '.join(apart)}" if apart else ""
