"""Which file to ship, in a sentence."""

from collections.abc import Sequence

from palmtop.eval.measuring.timed import LINEAR
from palmtop.eval.reports.table import Row
from palmtop.eval.reports.wrong import unfit, weak_teacher

ENOUGH = 97.0
"""Per cent of the teacher's metric that a file has to keep to be named before a larger one that keeps more."""


def advice(rows: Sequence[Row], metric: str) -> str | None:
    """The smallest file that keeps enough of the teacher and is better than the floor beyond the interval; where none
    is, the floor. None where no file was measured: torch is not shipped.

    Where no teacher was measured, a file keeps enough that is within the best one's interval.
    """
    if weak_teacher(rows):
        return "ship nothing yet: the teacher has to be mended first"
    files = _files(rows, metric)
    if not files:
        return None
    best = max(files, key=_value)
    floor = max((row for row in rows if "floor" in row.roles and _is_known(row)), key=_value, default=None)
    enough = [row for row in files if _keeps_enough(row, best)] or [best]
    above = [row for row in enough if floor is None or _value(floor) < _low(row)]
    if not above and floor is not None:
        return f"ship {_facts(floor, rows, metric)}; no file that keeps enough is better than this linear model"
    chosen = min(above, key=lambda row: (row.cells["model_mb"].value or 0, row.cells["latency_ms"].value or 0))
    return f"ship {_facts(chosen, rows, metric)}" + (f"; {_floor(floor)}" if floor is not None else "")


def _files(rows: Sequence[Row], metric: str) -> list[Row]:
    """What can be shipped; what was measured before what was emulated."""
    found = [row for row in rows if row.format not in ("torch", LINEAR) and _is_known(row) and not unfit(row, metric)]
    return [row for row in found if row.cells["metric"].kind == "measured"] or found


def _is_known(row: Row) -> bool:
    return row.cells["metric"].value is not None


def _value(row: Row) -> float:
    return row.cells["metric"].value or 0


def _low(row: Row) -> float:
    low = row.cells["metric"].low
    return _value(row) if low is None else low


def _keeps_enough(row: Row, best: Row) -> bool:
    kept = row.cells["kept_percent"].value
    return _value(row) >= _low(best) if kept is None else kept >= ENOUGH


def _facts(row: Row, rows: Sequence[Row], metric: str) -> str:
    kind = row.cells["metric"].kind
    parts = [_megabytes(row), _share(row, metric), _speed(row, rows), "" if kind == "measured" else kind]
    twice = sum(other.name == row.name for other in rows) > 1
    return f"{row if twice else row.name}: {', '.join(filter(None, parts))}"


def _megabytes(row: Row) -> str:
    value = row.cells["model_mb"].value
    return "" if value is None else f"{value:.1f} MB"


def _share(row: Row, metric: str) -> str:
    kept = row.cells["kept_percent"].value
    return f"{metric.replace('_', ' ')} {_value(row):.3f}" if kept is None else f"{kept:.1f} % of the teacher"


def _speed(row: Row, rows: Sequence[Row]) -> str:
    speedup = row.cells["speedup"].value
    baseline = next((other.name for other in rows if "baseline" in other.roles), "the baseline")
    return "" if speedup is None else f"{speedup:.1f} times as fast as {baseline}"


def _floor(floor: Row) -> str:
    kept, size = floor.cells["kept_percent"].value, _megabytes(floor)
    linear = f"a {size} linear model" if size else "a linear model"
    return f"{linear} has {_value(floor):.3f}" if kept is None else f"{linear} keeps {kept:.1f} %"
