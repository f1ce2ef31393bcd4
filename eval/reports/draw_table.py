"""Drawing a table: Markdown for a terminal and a page, CSV and JSON with every number unrounded."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from palmtop.errors import UserError, did_you_mean
from palmtop.eval.reports.pruning_verdicts import is_pruned
from palmtop.eval.reports.table import COLUMNS, NOT_MEASURED, Cell, Row, Section, milliseconds
from palmtop.measurement import NOT_RUN


@dataclass(frozen=True)
class Table:
    """All sections, one for each task. As text it is Markdown, and a notebook draws it."""

    sections: tuple[Section, ...]

    def draw(self, form: str) -> str:
        """As markdown, csv or json."""
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
    """For each task two tables, quality and size, speed and memory, and under them where the numbers come from and what
    they say."""
    return "\n".join(_markdown_section(section) for section in table.sections)


def as_csv(table: Table) -> str:
    """A line for each row of each section; of every column value, low, high, n, the word in place of a number, and
    whether the number was measured, emulated, ..."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
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
            *(f"{column}{part}" for column in COLUMNS for part in parts),
        ]
    )
    for section in table.sections:
        for row in section.rows:
            cells = [row.cells[column] for column in COLUMNS]
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
    """Everything, and each row's measurements as they were written."""
    content = [
        asdict(section)
        | {
            "rows": [
                asdict(row)
                | {"numbers": {metric: number.model_dump(mode="json") for metric, number in row.numbers.items()}}
                for row in section.rows
            ]
        }
        for section in table.sections
    ]
    return json.dumps({"tasks": content}, indent=1, ensure_ascii=False) + "\n"


FORMS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": as_csv, "json": as_json}


def _markdown_section(section: Section) -> str:
    several = len(section.machines) > 1
    lengths = list(
        dict.fromkeys(
            _drawn(0)(row.cells["timed_at"]) for row in section.rows if row.cells["timed_at"].word not in NO_LENGTH
        )
    )
    several_lengths = len(lengths) > 1
    time = "ms" if several_lengths else f"ms @{lengths[0] if lengths else '?'}"
    headings = {"metric": section.metric.replace("_", " "), "latency_ms": time}
    lines = ["", f"## {section.task}", "", *drawn_wrong(section)]
    left_out = {
        *(() if any(map(is_pruned, section.rows)) else OF_PRUNED),
        *(() if several_lengths else OF_LENGTHS),
    }
    for columns in (QUALITY, SPEED):
        chosen = {column: drawing for column, drawing in columns.items() if column not in left_out}
        heads = [headings.get(column, heading) for column, (heading, _) in chosen.items()]
        drawn = [
            [_name(row), _target(row, several), *(draw(row.cells[column]) for column, (_, draw) in chosen.items())]
            for row in section.rows
        ]
        lines += [*_grid([["model", "format, precision, target", *heads], *drawn]), ""]
    lines += [f"- {note}" for note in section.notes]
    others = [f"- **{verdict}**" for verdict in section.verdicts if verdict.severity == "note"]
    return "\n".join([*lines, *(["", *others] if others else []), ""])


def drawn_wrong(section: Section) -> list[str]:
    """What can't be passed over, a line each, and an empty one under them."""
    lines = [f"- **WRONG: {verdict.says}**; {verdict.do}" for verdict in section.wrong]
    return [*lines, ""] if lines else []


def _grid(rows: Sequence[Sequence[str]]) -> list[str]:
    """Markdown with columns of even width; the two columns of words to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [cell.ljust(widths[place]) if place < WORDS else cell.rjust(widths[place]) for place, cell in enumerate(row)]
        for row in rows
    ]
    rule = ["-" * width if place < WORDS else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]


def _name(row: Row) -> str:
    return row.name.replace("|", "\\|") + (f" ({', '.join(row.roles)})" if row.roles else "")


def _target(row: Row, several: bool) -> str:
    return f"{row.format} {row.precision}, {row.target}" + (f" [machine {row.machine}]" if several else "")


def _drawn(digits: int, scale: float = 1.0, interval: bool = False, sign: str = "") -> Callable[[Cell], str]:
    """How a column shows its cells; intervals that it leaves out are in CSV and JSON."""

    def draw(cell: Cell) -> str:
        if cell.value is None:
            return cell.word or ""
        value, *bounds = (
            f"{number * scale:{sign}.{digits}f}" for number in (cell.value, cell.low, cell.high) if number is not None
        )
        shown = f"{value} [{', '.join(bounds)}]" if interval and bounds else value
        return shown if cell.kind == "measured" else f"{shown} ({cell.kind})"

    return draw


def _time(cell: Cell) -> str:
    """How a column of milliseconds shows its cells."""
    return (
        _drawn(2)(cell)
        if cell.value is None
        else milliseconds(cell.value) + ("" if cell.kind == "measured" else f" ({cell.kind})")
    )


WORDS = 2
OF_PRUNED = ("gzip_mb", "nonzero_percent")
"""Columns that are drawn where weights were zeroed; elsewhere they say little. CSV and JSON have them always."""
OF_LENGTHS = ("timed_at",)
"""Columns that are drawn where not all rows were timed at one length."""
NO_LENGTH = (NOT_MEASURED, NOT_RUN, "not padded")
Columns = dict[str, tuple[str, Callable[[Cell], str]]]
QUALITY: Columns = {
    "model_mb": ("MB", _drawn(2)),
    "download_mb": ("MB to fetch", _drawn(2)),
    "gzip_mb": ("MB compressed", _drawn(2)),
    "nonzero_percent": ("% not zero", _drawn(1)),
    "metric": ("metric", _drawn(3, interval=True)),
    "difference_points": ("points to baseline", _drawn(1, interval=True, sign="+")),
    "kept_percent": ("% of teacher", _drawn(1)),
    "agreement_torch": ("% as torch", _drawn(1, 100)),
    "agreement_teacher": ("% as teacher", _drawn(1, 100)),
}
SPEED: Columns = {
    "timed_at": ("tokens", _drawn(0)),
    "latency_ms": ("ms", _time),
    "latency_p90_ms": ("p90", _time),
    "latency_p99_ms": ("p99", _time),
    "speedup": ("x faster", _drawn(2)),
    "tokenize_ms": ("tokenize ms", _time),
    "text_latency_ms": ("text to answer ms", _time),
    "load_ms": ("load ms", _drawn(0)),
    "memory_mb": ("memory MB", _drawn(0)),
}
