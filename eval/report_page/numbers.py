"""The first part of a task: what is wrong, which file to ship, the table, every column of it, and the notes."""

from collections.abc import Mapping

from palmtop.eval.report_page.markup import Markup, element, folded, items, joined, part, table
from palmtop.eval.reports.draw_table import OF_LENGTHS, OF_PRUNED, QUALITY, SPEED, further_metrics
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.glance import CORE, MORE
from palmtop.eval.reports.markdown import Draw, drawn, form, name, numbered
from palmtop.eval.reports.pruning_verdicts import is_pruned
from palmtop.eval.reports.table import Section


def numbers(found: Found) -> Markup:
    """The table as `palmtop compare` has it, and what is said before and under it."""
    section = found.section
    metric = f"{_metric(section)} [95 %]"
    short = {"metric": (metric, CORE["metric"][1])}
    wrong = items((f"WRONG: {verdict}" for verdict in section.wrong), class_="wrong") if section.wrong else ""
    advice = section.advice or "no sentence says what to ship: no exported file was measured"
    notes = [str(verdict) for verdict in section.verdicts if verdict.severity == "note"]
    return part(
        "What to ship",
        wrong,
        element("p", advice[:1].upper() + advice[1:], class_="advice"),
        _table(section, "What each file costs and keeps", CORE | short | MORE),
        items(notes) if notes else "",
        folded("Every column", _every_column(section)),
        folded("How the numbers were taken", items(section.notes or section.brief)),
    )


def _every_column(section: Section) -> Markup:
    unpruned = () if any(map(is_pruned, section.rows)) else OF_PRUNED
    left_out = {*unpruned, *OF_LENGTHS}
    quality = {key: column for key, column in QUALITY.items() if key not in left_out}
    quality["metric"] = (_metric(section), quality["metric"][1])
    return joined(
        [
            _table(section, "What it keeps, and its size", quality, further_metrics([section])),
            _table(section, "What it costs", SPEED),
        ]
    )


def _table(
    section: Section, caption: str, columns: Mapping[str, tuple[str, Draw]], metrics: list[str] | None = None
) -> Markup:
    draw_further = drawn(3, interval=True)
    rows = [
        [
            joined([name(row), element("small", numbered(form(row), row, section))]),
            *(draw(row.cells[column]) for column, (_, draw) in columns.items()),
            *(draw_further(row.metrics[metric]) for metric in metrics or ()),
        ]
        for row in section.rows
    ]
    heads = ["model", *(heading for heading, _ in columns.values())]
    return table(caption, [*heads, *(metric.replace("_", " ") for metric in metrics or ())], rows)


def _metric(section: Section) -> str:
    return section.metric.replace("_", " ")
