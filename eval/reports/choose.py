"""Which rows of a table are shown, and in which order."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.eval.reports.draw_table import QUALITY, SPEED
from palmtop.eval.reports.table import COLUMNS, Cell, Row

LARGEST_FIRST = (
    "metric",
    "difference_points",
    "kept_percent",
    "agreement_torch",
    "agreement_teacher",
    "speedup",
    "larger_points",
    "answered_first",
)
"""Columns whose best number is the largest; of the others it is the smallest."""


def check_names(only: Sequence[str], names: Iterable[str]) -> None:
    """Raises: UserError: words of `only` that no row is called like."""
    known = list(dict.fromkeys(names))
    raise_all(
        [
            f"no row is called like '{word}'; {did_you_mean(word, known)}"
            for word in only
            if not any(fnmatchcase(name, word) for name in known)
        ]
    )


def column_of(word: str, deciding: Sequence[str], further: Sequence[str]) -> str:
    """The cell, or the further metric, that a column's heading, a metric's name or the cell's own name mean.

    Raises:
        UserError: none is called so.
    """
    headings = {heading: column for column, (heading, _) in (QUALITY | SPEED).items()}
    known = {column: column for column in ("name", *COLUMNS, *further)} | headings
    known |= dict.fromkeys(deciding, "metric")
    if word not in known:
        raise UserError(f"no column '{word}' to sort by; {did_you_mean(word, known)}")
    return known[word]


def shown(rows: Sequence[Row], only: Sequence[str], column: str | None) -> tuple[Row, ...]:
    """The rows whose name is like one of `only` (all, where it is empty), the best of the column first and those
    without a number last; equal ones stay as they are."""
    kept = [row for row in rows if not only or any(fnmatchcase(row.name, word) for word in only)]
    if column is None:
        return tuple(kept)
    if column == "name":
        return tuple(sorted(kept, key=lambda row: row.name))
    cells = [row.metrics[column] if column in row.metrics else row.cells.get(column, Cell()) for row in kept]
    sign = -1 if column in LARGEST_FIRST or column not in COLUMNS else 1
    order = sorted(range(len(kept)), key=lambda at: (cells[at].value is None, sign * (cells[at].value or 0)))
    return tuple(kept[at] for at in order)
