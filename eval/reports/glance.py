"""The table at a glance: what is wrong, a sentence, six or seven columns within a page's width, a few notes."""

from collections import Counter

from palmtop.eval.reports.draw_ways import lines as ways
from palmtop.eval.reports.markdown import Draw, bullets, drawn, form, grid, name, numbered, opening, others
from palmtop.eval.reports.table import Cell, Row, Section
from palmtop.measurement import NOT_RUN

WIDTH = 100
"""Characters of a line, as long as names are the usual ones; no name is shortened for it."""


def glance(section: Section) -> str:
    """A section as it is printed when nothing else is asked for."""
    table = _table(section, CORE | MORE)
    if max(map(len, table)) > WIDTH:
        table = _table(section, CORE)
    notes = bullets([*section.brief, _forms(section)])
    return "\n".join([*opening(section), *table, "", *notes, *others(section), *ways(section), ""])


def _table(section: Section, columns: "dict[str, tuple[str, Draw]]") -> list[str]:
    metric = f"{section.metric.replace('_', ' ')} [95 %]"
    head = ["model", *(metric if column == "metric" else heading for column, (heading, _) in columns.items())]
    named = Counter(row.name for row in section.rows)
    rows = [
        [_model(row, section, named[row.name] > 1), *(draw(row.cells[column]) for column, (_, draw) in columns.items())]
        for row in section.rows
    ]
    return grid([head, *rows], 1)


def _model(row: Row, section: Section, twice: bool) -> str:
    """The name, and what tells the row apart; that its numbers were not measured is marked here, once for all."""
    kinds = dict.fromkeys(row.cells[column].kind for column in CORE if row.cells[column].value is not None)
    marks = [f" ({kind})" for kind in kinds if kind not in ("measured", NOT_RUN)]
    return numbered("".join([name(row), *marks, f" on {row.target}" if twice else ""]), row, section)


def _forms(section: Section) -> str:
    """Formats, precisions and targets, each with its rows: as a column they would be as wide as all the others."""
    found: dict[str, list[str]] = {}
    for row in section.rows:
        found.setdefault(form(row), []).append(row.name)
    return "; ".join(f"{what}: {', '.join(dict.fromkeys(names))}" for what, names in found.items())


def _plain(draw: Draw) -> Draw:
    """Without the kind, which stands beside the name."""
    return lambda cell: _word(cell) if cell.value is None else draw(Cell(cell.value, cell.low, cell.high))


def _word(cell: Cell) -> str:
    return "not run" if cell.word == NOT_RUN else cell.word or ""


def _three_digits(cell: Cell) -> str:
    return drawn(_decimals(cell.value or 0))(cell)


def _decimals(value: float) -> int:
    """As many as leave three digits, but no more than tell two small numbers apart."""
    steps = ((99.95, 0), (9.995, 1), (0.0995, 2))
    return next((decimals for least, decimals in steps if value >= least), 3)


CORE: dict[str, tuple[str, Draw]] = {
    "model_mb": ("MB", _plain(_three_digits)),
    "metric": ("metric", _plain(drawn(3, interval=True))),
    "kept_percent": ("% of teacher", _plain(drawn(1))),
    "latency_ms": ("ms", _plain(_three_digits)),
    "speedup": ("x faster", _plain(_three_digits)),
}
MORE: dict[str, tuple[str, Draw]] = {"agreement_torch": ("% as torch", _plain(drawn(1, 100)))}
"""Drawn where there is room."""
