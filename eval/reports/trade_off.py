"""The picture of a table: what each file costs, in bytes and in milliseconds, against what it keeps; SVG or PNG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.errors import UserError
from palmtop.eval.reports.chart import GREY, STYLES
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.table import Row, Section
from palmtop.measurement import Measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".svg", ".png")
NEAR, ALIKE = 1.08, 0.004
"""Points closer than this factor across and this much up share one name, or their names would lie on each other."""


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
    if path.suffix not in ENDINGS:
        raise UserError(f"--picture {path}: the name has to end in {' or '.join(ENDINGS)}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("--picture needs matplotlib: pip install 'palmtop[chart]'") from None
    section = next(iter(table.sections), None)
    sizes = dots(section, "model_mb") if section is not None else []
    if section is None or not sizes:
        raise UserError("there is nothing to draw: no file has both a size and a valid metric")
    times = dots(section, "latency_ms")
    formats = list(dict.fromkeys(row.format for row in section.rows))
    with rc_context({"svg.hashsalt": "palmtop", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 4.2), dpi=160, layout="constrained")
        first, second = figure.subplots(1, 2, sharey=True)
        _panel(first, sizes, formats, "MB of the model (log scale)")
        first.set_ylabel(section.metric.replace("_", " "))
        _panel(second, times, formats, f"ms a text{_timed(times)} (log scale)")
        figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=len(formats), frameon=False)
        figure.suptitle(f"{section.task.split(' ')[0]}: what each file costs and keeps", x=0.01, ha="left", fontsize=11)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
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


def names(found: Sequence[Dot]) -> list[tuple[Dot, str]]:
    """A name for each dot, and one for all that lie on each other, at the first of them."""
    told: list[tuple[Dot, list[str]]] = []
    for dot in sorted(found, key=lambda dot: dot.across):
        beside = next((names for first, names in told if _touch(first, dot)), None)
        if beside is None:
            told.append((dot, [dot.row.name]))
        elif dot.row.name not in beside:
            beside.append(dot.row.name)
    return [(dot, "\n".join(together)) for dot, together in told]


def _touch(first: Dot, other: Dot) -> bool:
    return other.across <= NEAR * first.across and abs(other.value - first.value) <= ALIKE


def _beside(row: Row) -> bool:
    return row.cells["speedup"].value is not None or "baseline" in row.roles


def _panel(axes: "Axes", found: Sequence[Dot], formats: Sequence[str], across: str) -> None:
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
    middle = math.sqrt(min(places) * max(places)) if (places := [dot.across for dot in found]) else 0.0
    for dot, name in names(found):
        right = dot.across <= middle
        axes.annotate(
            name,
            (dot.across, dot.value),
            xytext=(7 if right else -7, 4),
            textcoords="offset points",
            ha="left" if right else "right",
            va="bottom" if "\n" not in name else "top",
            color=GREY,
            fontsize=7.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
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
