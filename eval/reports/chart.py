"""The chart of a run: the deciding metric against the share that bundles keep, a line for each method; PNG, SVG, and
its numbers."""

import fnmatch
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from palmtop.bundle import Bundle
from palmtop.durably import write_durably
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.table import Row, Section
from palmtop.measure_settings import ChartText

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "chart"
STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#56B4E9", "v"), ("#E69F00", "P"))
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008), each with a marker of its own."""
GREY = "#555555"


@dataclass(frozen=True)
class Point:
    """Bundles of one line that differ in nothing but their seeds."""

    asked: Any
    """The setting that they share."""
    kept: float
    """The share that they keep, their mean."""
    values: tuple[float, ...]
    """The metric of each."""
    low: float
    """Ends of the 95 % interval over texts, their mean."""
    high: float

    @property
    def value(self) -> float:
        """The metric's mean."""
        return mean(self.values)


@dataclass(frozen=True)
class Chart:
    """What is drawn."""

    task: str
    metric: str
    texts: int
    lines: dict[str, tuple[Point, ...]]
    """Each from the smallest share to the largest."""
    levels: dict[str, float]


def charts(table: Table, bundles: Mapping[str, Bundle], wanted: ChartText) -> list[Chart]:
    """The charts of a table, one for each task that has points: rows without a valid metric, without the fact, or whose
    metric was emulated or estimated have none."""
    made = [_chart(section, bundles, wanted) for section in table.sections]
    return [chart for chart in made if any(chart.lines.values())]


def write(chart: Chart, folder: Path) -> None:
    """Write chart.png, chart.svg and chart.md into a folder."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": NAME, "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.5, 5), dpi=160, layout="constrained")
        _draw(chart, figure.add_subplot())
        figure.savefig(folder / f"{NAME}.png")
        figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})
    write_durably(folder / f"{NAME}.md", markdown(chart))


def markdown(chart: Chart) -> str:
    """The chart's numbers: a row for each share asked for, a column for each line, the share reached where it is
    another."""
    by_line = {name: {str(point.asked): point for point in points} for name, points in chart.lines.items()}
    asked = {str(point.asked): point.kept for points in chart.lines.values() for point in points}
    head = ["kept", *by_line]
    order = sorted(asked, key=lambda key: asked[key], reverse=True)
    rows = [[key, *(_cell(points.get(key)) for points in by_line.values())] for key in order]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---:"] * len(head), *rows]]
    levels = [f"- {name}: {value:.3f}" for name, value in chart.levels.items()]
    return "\n".join(
        [
            f"## {chart.task}: {chart.metric} by share of the weights kept",
            "",
            *lines,
            "",
            *levels,
            f"- {_footing(chart)}",
            "",
        ]
    )


def _chart(section: Section, bundles: Mapping[str, Bundle], wanted: ChartText) -> Chart:
    measured = [row for row in section.rows if row.cells["metric"].kind == "measured"]
    rows = {row.name: row for row in reversed(measured)}  # of one on several targets the first
    lines = {
        name: tuple(
            _points(
                [
                    (row, bundles[row.name])
                    for row in rows.values()
                    if row.name in bundles and fnmatch.fnmatchcase(row.name, pattern)
                ],
                wanted,
            )
        )
        for name, pattern in wanted.lines.items()
    }
    levels = {
        name: value
        for name in wanted.levels
        if name in rows and (value := rows[name].cells["metric"].value) is not None
    }
    texts = max((row.cells["metric"].n or 0 for row in rows.values()), default=0)
    return Chart(section.task, section.metric, texts, lines, levels)


def _points(found: Sequence[tuple[Row, Bundle]], wanted: ChartText) -> list[Point]:
    alike: dict[str, list[tuple[float, Row, Any]]] = defaultdict(list)
    for row, bundle in found:
        kept, asked = bundle.card.facts.get(wanted.x), bundle.card.origin.settings.get(wanted.setting)
        if kept is not None and row.cells["metric"].value is not None:
            alike[str(asked)].append((float(kept), row, asked))
    return sorted((_point(group) for group in alike.values()), key=lambda point: point.kept)


def _point(group: Sequence[tuple[float, Row, Any]]) -> Point:
    cells = [row.cells["metric"] for _, row, _ in group]
    values = [cell.value for cell in cells if cell.value is not None]
    low, high = (
        mean(bound if bound is not None else value for bound, value in zip(bounds, values, strict=True))
        for bounds in ([cell.low for cell in cells], [cell.high for cell in cells])
    )
    return Point(group[0][2], mean(kept for kept, _, _ in group), tuple(values), low, high)


def _draw(chart: Chart, axes: "Axes") -> None:
    for (name, points), (colour, marker) in zip(chart.lines.items(), itertools.cycle(STYLES), strict=False):
        if not points:
            continue
        kept, values = [point.kept for point in points], [point.value for point in points]
        spread = [[point.value - point.low for point in points], [point.high - point.value for point in points]]
        axes.errorbar(
            kept,
            values,
            yerr=spread,
            color=colour,
            marker=marker,
            markersize=6,
            linewidth=1.8,
            elinewidth=1,
            capsize=3,
            label=name,
        )
        seeds = [(point.kept, value) for point in points if len(point.values) > 1 for value in point.values]
        axes.scatter([at for at, _ in seeds], [value for _, value in seeds], s=9, color=colour, alpha=0.6)
    for (name, value), dashes in zip(
        chart.levels.items(), itertools.cycle(((6, 3), (2, 2), (6, 2, 1, 2))), strict=False
    ):
        axes.axhline(value, color=GREY, linewidth=1, dashes=dashes, zorder=0)
        axes.annotate(
            f"{name} {value:.3f}",
            (1, value),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            color=GREY,
            fontsize=8.5,
        )
    axes.set_xscale("log")
    ticks = _ticks([point for points in chart.lines.values() for point in points])
    axes.set_xticks(ticks, [f"{100 * tick:.3g} %" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="share of the weights kept", ylabel=chart.metric.replace("_", " "))
    axes.set_title(
        f"{chart.task.split(' ')[0]}: {chart.metric.replace('_', ' ')} by share kept", loc="left", fontsize=11
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(loc="best", frameon=False)
    axes.annotate(_footing(chart), (0, -0.17), xycoords="axes fraction", color=GREY, fontsize=8)


def _ticks(points: Sequence[Point]) -> list[float]:
    """The shares asked for (kept, where none was), but of those so close that their names would touch only one."""
    ticks: list[float] = []
    for share in sorted(
        {point.asked if isinstance(point.asked, float) else float(f"{point.kept:.2g}") for point in points}
    ):
        if not ticks or share / ticks[-1] > 1.2:  # noqa: PLR2004  # a name is about so wide on the axis
            ticks.append(share)
    return ticks


def _footing(chart: Chart) -> str:
    seeds = max((len(point.values) for points in chart.lines.values() for point in points), default=1)
    of = f"means of up to {seeds} seeds, which the dots are; " if seeds > 1 else "one seed; "
    return f"{of}bars: 95 % interval over {chart.texts:,} texts, not over seeds"


def _cell(point: Point | None) -> str:
    if point is None:
        return ""
    reached = "" if _near(point.asked, point.kept) else f" (kept {point.kept:.3g})"
    return f"{point.value:.3f} [{point.low:.3f}, {point.high:.3f}]{reached}"


def _near(asked: Any, kept: float) -> bool:
    return isinstance(asked, int | float) and abs(asked - kept) <= 0.01 * kept  # a hundredth of it
