"""Drawing a table: Markdown, at a glance or with every column; CSV and JSON with every number unrounded."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from palmtop.errors import UserError, did_you_mean
from palmtop.eval.reports.cascade_verdicts import is_cascade
from palmtop.eval.reports.draw_ways import as_fields
from palmtop.eval.reports.draw_ways import lines as ways
from palmtop.eval.reports.glance import glance
from palmtop.eval.reports.latex import latex
from palmtop.eval.reports.markdown import (
    Draw,
    bullets,
    drawn,
    form,
    grid,
    name,
    numbered,
    opening,
    others,
    probability,
    time,
)
from palmtop.eval.reports.pruning_verdicts import is_pruned
from palmtop.eval.reports.table import COLUMNS, NOT_MEASURED, Cell, Section
from palmtop.measurement import NOT_RUN, Measurement


@dataclass(frozen=True)
class Table:
    """All sections, one for each task. As text it is Markdown, and a notebook draws it."""

    sections: tuple[Section, ...]

    def draw(self, form: str) -> str:
        """As markdown (at a glance), wide (every column), csv, json or latex."""
        return render(self, form)

    def __str__(self) -> str:
        return markdown(self)

    def _repr_markdown_(self) -> str:
        return markdown(self)


def render(table: Table, form: str) -> str:
    """The table as text.

    Raises:
        UserError: an unknown form.
    """
    if form not in FORMS:
        raise UserError(f"no format '{form}'; {did_you_mean(form, FORMS)}")
    return FORMS[form](table)


def markdown(table: Table) -> str:
    """For each task one table that is read at a glance."""
    return "\n".join(glance(section) for section in table.sections)


def wide(table: Table) -> str:
    """For each task two tables of every column, quality and size, speed and memory, and under them where the numbers
    come from and what they say."""
    return "\n".join(_wide_section(section) for section in table.sections)


def as_csv(table: Table) -> str:
    """A line for each row of each section; of every column value, low, high, n, the word in place of a number, and
    whether the number was measured, emulated, ..."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    further = further_metrics(table.sections)
    parts = ("", "_low", "_high", "_n", "_word", "_kind")
    writer.writerow(
        [
            "task",
            "metric_name",
            "name",
            "digest",
            "format",
            "precision",
            "target",
            "machine",
            "roles",
            *(f"{column}{part}" for column in (*COLUMNS, *further) for part in parts),
        ]
    )
    for section in table.sections:
        for row in section.rows:
            cells = [row.cells[column] for column in COLUMNS]
            cells += [row.metrics.get(metric, Cell(word=NOT_MEASURED)) for metric in further]
            numbers = [part for cell in cells for part in _parts(cell)]
            writer.writerow(
                [
                    section.task,
                    section.metric,
                    row.name,
                    row.digest,
                    row.format,
                    row.precision,
                    row.target,
                    row.machine,
                    " ".join(row.roles),
                    *numbers,
                ]
            )
    return out.getvalue()


def _parts(cell: Cell) -> tuple[float | str | None, ...]:
    return cell.value, cell.low, cell.high, cell.n, cell.word, None if cell.value is None else cell.kind


def as_json(table: Table) -> str:
    """Everything, and each row's measurements as they were written; a line for each row."""
    tasks = ",\n".join(_section_as_json(section) for section in table.sections)
    return f'{{"tasks": [{tasks}]}}\n'


def _section_as_json(section: Section) -> str:
    said = {name: value for name, value in vars(section).items() if name not in ("rows", "ways")}
    about = _json(said | ({"waterfall": list(map(as_fields, section.ways))} if section.ways else {}))
    rows = ",\n".join(map(_json, section.rows))
    return f'{about.removesuffix("}")}, "rows": [\n{rows}\n]}}'


def _json(value: Any) -> str:
    """Without indents, which only Python's slow writer has."""
    return json.dumps(value, ensure_ascii=False, default=_fields)


def _fields(value: Any) -> dict[str, Any]:
    return value.model_dump(mode="json") if isinstance(value, Measurement) else vars(value)


def as_latex(table: Table) -> str:
    """For each task a table of the package booktabs."""
    return "\n".join(latex(section) for section in table.sections)


FORMS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown,
    "wide": wide,
    "csv": as_csv,
    "json": as_json,
    "latex": as_latex,
}


def _wide_section(section: Section) -> str:
    lengths = list(
        dict.fromkeys(
            drawn(0)(row.cells["timed_at"]) for row in section.rows if row.cells["timed_at"].word not in NO_LENGTH
        )
    )
    several_lengths = len(lengths) > 1
    at = "ms" if several_lengths else f"ms @{lengths[0] if lengths else '?'}"
    headings = {"metric": section.metric.replace("_", " "), "latency_ms": at}
    lines = opening(section)
    left_out = {
        *(() if any(map(is_pruned, section.rows)) else OF_PRUNED),
        *(() if several_lengths else OF_LENGTHS),
        *(() if any(map(is_cascade, section.rows)) else OF_CASCADES),
        *(() if any(row.cells["paired_p"].value is not None for row in section.rows) else OF_TESTS),
    }
    further = further_metrics([section])
    for columns, metrics in ((QUALITY, further), (SPEED, [])):
        chosen = {column: drawing for column, drawing in columns.items() if column not in left_out}
        heads = [headings.get(column, heading) for column, (heading, _) in chosen.items()]
        heads += [metric.replace("_", " ") for metric in metrics]
        cells = [
            [
                name(row),
                numbered(form(row), row, section),
                *(draw(row.cells[column]) for column, (_, draw) in chosen.items()),
                *(drawn(3, interval=True)(row.metrics[metric]) for metric in metrics),
            ]
            for row in section.rows
        ]
        lines += [*grid([["model", "format, precision, target", *heads], *cells], 2), ""]
    return "\n".join([*lines, *bullets(section.notes), *others(section), *ways(section), ""])


def further_metrics(sections: Sequence[Section]) -> list[str]:
    """The metrics of tasks beside those that decide."""
    return list(dict.fromkeys(metric for section in sections for row in section.rows for metric in row.metrics))


OF_PRUNED = ("gzip_mb", "nonzero_percent")
"""Columns that are drawn where weights were zeroed; elsewhere they say little. CSV and JSON have them always."""
OF_CASCADES = ("answered_first", "larger_points", "expected_ms")
"""Columns that only cascades, and what they are made of, have numbers in."""
OF_LENGTHS = ("timed_at",)
"""Columns that are drawn where not all rows were timed at one length."""
OF_TESTS = ("paired_p",)
"""Columns that are drawn where the kind of task has a paired test, and it was taken."""
NO_LENGTH = (NOT_MEASURED, NOT_RUN, "not padded")
Columns = dict[str, tuple[str, Draw]]
QUALITY: Columns = {
    "model_mb": ("MB", drawn(2)),
    "download_mb": ("MB to fetch", drawn(2)),
    "gzip_mb": ("MB compressed", drawn(2)),
    "nonzero_percent": ("% not zero", drawn(1)),
    "metric": ("metric", drawn(3, interval=True)),
    "difference_points": ("points to baseline", drawn(1, interval=True, sign="+")),
    "paired_p": ("p to baseline", probability),
    "kept_percent": ("% of teacher", drawn(1)),
    "agreement_torch": ("% as torch", drawn(1, 100)),
    "agreement_teacher": ("% as teacher", drawn(1, 100)),
    "answered_first": ("% by the first", drawn(1)),
    "larger_points": ("points to the larger", drawn(1, interval=True, sign="+")),
}
SPEED: Columns = {
    "timed_at": ("tokens", drawn(0)),
    "latency_ms": ("ms", time),
    "latency_p90_ms": ("p90", time),
    "latency_p99_ms": ("p99", time),
    "speedup": ("x faster", drawn(2)),
    "tokenize_ms": ("tokenize ms", time),
    "text_latency_ms": ("text to answer ms", time),
    "expected_ms": ("mean ms", time),
    "load_ms": ("load ms", drawn(0)),
    "memory_mb": ("memory MB", drawn(0)),
}
