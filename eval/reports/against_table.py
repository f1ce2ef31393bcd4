"""Drawing two runs side by side: first the sentence that says whether it got worse, then a row for each pair."""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from palmtop.errors import UserError, did_you_mean
from palmtop.eval.reports.against import TIME_NOTICED, Against, Pair
from palmtop.eval.reports.glance import WIDTH
from palmtop.eval.reports.markdown import bullets, drawn, grid, on_one_line
from palmtop.eval.reports.run_at import Placed, RunAt
from palmtop.eval.reports.table import NOT_MEASURED, Cell
from palmtop.measurement import Measurement

NAMED = 3
"""How many rows the first sentence names."""


def render(found: Against, form: str) -> str:
    """Two runs side by side, as markdown, csv or json.

    Raises:
        UserError: an unknown form.
    """
    if form not in FORMS:
        raise UserError(f"--against has no format '{form}'; {did_you_mean(form, FORMS)}")
    return FORMS[form](found)


def sentence(found: Against) -> str:
    """Whether anything got worse."""
    new, old = found.new.label, found.old.label
    worse, unknown, pairs = found.of("worse"), found.of("not comparable"), len(found.pairs)
    if not pairs:
        return f"It can't be told whether {new} is worse than {old}: they have no row of the same name and target."
    if worse:
        return (
            f"Yes, worse: {_some(len(worse), pairs)} of {new} got worse since {old}: {_named(worse)}.{_better(found)}"
        )
    if len(unknown) == pairs:
        of = _count(pairs, "row")
        return f"It can't be told whether {new} is worse than {old}: of {of} in both, the metric can't be compared."
    no = f"No, not worse: none of {_count(pairs - len(unknown), 'row')} of {new} got worse since {old} beyond doubt"
    return f"{no}{_room(found.pairs)}.{_better(found)}{_untold(unknown)}"


def markdown(found: Against) -> str:
    """The sentence, the table, and what was compared by what."""
    lines = [on_one_line(sentence(found)), ""]
    for task, metric in dict.fromkeys((pair.task, pair.metric) for pair in found.pairs):
        rows = [pair for pair in found.pairs if (pair.task, pair.metric) == (task, metric)]
        lines += [f"## {on_one_line(task)}", "", *table(rows, metric), ""]
    return "\n".join([*lines, *bullets(notes(found)), ""])


def table(pairs: Sequence[Pair], metric: str) -> list[str]:
    """A row for each pair: the metric, of old and new where a page is wide enough, the difference, MB, time, the
    verdict."""
    drawn_rows = _grid(pairs, metric, _both)
    return drawn_rows if max(map(len, drawn_rows)) <= WIDTH else _grid(pairs, metric, _newer)


def _grid(pairs: Sequence[Pair], metric: str, shown: Callable[[Pair], str]) -> list[str]:
    names = Counter(pair.name for pair in pairs)
    heads = ["model", metric.replace("_", " "), "points [95 %]", "MB", "x as long", "verdict"]
    rows = [
        [
            pair.name if names[pair.name] == 1 else str(pair),
            shown(pair),
            drawn(1, interval=True, sign="+")(pair.points),
            _megabytes(pair),
            drawn(2)(pair.time_ratio),
            pair.said_briefly(),
        ]
        for pair in pairs
    ]
    return grid([heads, *rows], 1)


def _both(pair: Pair) -> str:
    return " -> ".join(_value(side.number(pair.metric), ".3f") for side in (pair.old, pair.new))


def _newer(pair: Pair) -> str:
    return _value(pair.new.number(pair.metric), ".3f")


def notes(found: Against) -> list[str]:
    """What was compared by what, why the rest wasn't, and what only one of the two has."""
    pairs = found.pairs
    paired = [str(pair) for pair in pairs if pair.difference.paired]
    n = max((pair.difference.score.n or 0 for pair in pairs if pair.difference.paired), default=0)
    same = [str(pair) for pair in pairs if pair.is_same_file]
    return [
        f"{found.new.label} beside {found.old.label}: points are hundredths of the metric, new minus old; x as long: "
        "the new median time by the old one",
        *([f"paired by text, {n:,} texts answered by both: {_rows(paired, pairs)}"] if paired else []),
        *_reasons("the interval leaves 0 out, and it may be chance all the same", pairs, _by_chance),
        *_reasons(
            "by the two intervals, which are wider than a paired one", pairs, lambda pair: pair.difference.unpaired
        ),
        *_reasons("metric not comparable", pairs, lambda pair: pair.difference.score.why),
        *_reasons("times not comparable", pairs, lambda pair: pair.time_ratio.why),
        *([f"the very same file in both: {_rows(same, pairs)}"] if same else []),
        *_drift(pairs),
        *_only(found.new, found.only_new),
        *_only(found.old, found.only_old),
        *(f"missing in {found.new.label}: {name}: {why}" for name, why in found.new.missing.items()),
        *(f"{run.label}: {fault}: left out" for run in (found.new, found.old) for fault in run.faults),
        "worse and better: the whole 95 % interval of the metric's difference lies on one side of 0; files that differ "
        "by more than 1 %; median times on one machine that differ by more than 10 % beyond their intervals",
    ]


def as_csv(found: Against) -> str:
    """A line for each pair, unrounded."""
    out = io.StringIO()
    records = [_record(pair) for pair in found.pairs]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(next(iter(records), {"name": ""}))
    writer.writerows(record.values() for record in records)
    return out.getvalue()


def as_json(found: Against) -> str:
    """The sentence, every pair unrounded, and what only one of the two has."""
    content = {
        "sentence": sentence(found),
        "new": found.new.label,
        "old": found.old.label,
        "rows": [_record(pair) | {"by": pair.by_aspect} for pair in found.pairs],
        "only_new": [str(row) for row in found.only_new],
        "only_old": [str(row) for row in found.only_old],
        "notes": notes(found),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


FORMS: dict[str, Callable[[Against], str]] = {"markdown": markdown, "csv": as_csv, "json": as_json}


def _count(n: int, what: str) -> str:
    return f"the one {what}" if n == 1 else f"the {n} {what}s"


def _some(n: int, of: int) -> str:
    return "the only row" if n == of == 1 else f"{n} of {of} rows"


def _named(pairs: Sequence[Pair]) -> str:
    """The rows with what changed, the largest loss first."""
    first = sorted(pairs, key=lambda pair: pair.points.value or 0)[:NAMED]
    more = f"; and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    return "; ".join(f"{pair} ({changes(pair)})" for pair in first) + more


def changes(pair: Pair) -> str:
    """What got worse or better in a row, with its numbers."""
    shown = {
        pair.metric: f"{pair.metric.replace('_', ' ')} {points(pair.points)}",
        "MB": f"{_megabytes(pair)} MB",
        "ms": f"{_short(pair.time_ratio)} times as long",
    }
    if pair.lost_its_metric:
        shown[pair.metric] = pair.difference.score.why or ""
    return ", ".join(shown[what] for what, of in pair.by_aspect.items() if of in ("worse", "better"))


def points(cell: Cell) -> str:
    """A difference in points with its interval, as sentences show it."""
    return "" if cell.value is None else f"{drawn(1, interval=True, sign='+')(cell)} points"


def _better(found: Against) -> str:
    better = found.of("better")
    return f" Better: {_named(better)}." if better else ""


def _room(pairs: Sequence[Pair]) -> str:
    """How much a row may have lost without these texts showing it."""
    lows = [-pair.points.low for pair in pairs if pair.points.low is not None]
    return f" (its texts leave room for a loss of {max(lows):.1f} points)" if lows and max(lows) > 0 else ""


def _untold(pairs: Sequence[Pair]) -> str:
    return f" Of {_list(map(str, pairs))} the metric can't be compared." if pairs else ""


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _reasons(what: str, pairs: Sequence[Pair], why: Callable[[Pair], str | None]) -> list[str]:
    """Pairs with one reason in one sentence."""
    found: dict[str, list[str]] = {}
    for pair in pairs:
        if reason := why(pair):
            found.setdefault(reason, []).append(str(pair))
    return [f"{what}: {_rows(names, pairs)}: {reason}" for reason, names in found.items()]


def _rows(names: Sequence[str], pairs: Sequence[Pair]) -> str:
    return f"all {len(pairs)} rows" if len(names) == len(pairs) > 1 else _list(names)


def _by_chance(pair: Pair) -> str | None:
    points = pair.points
    if not pair.difference.may_be_chance or points.low is None or points.high is None or points.low <= 0 <= points.high:
        return None
    return f"McNemar's p is {pair.difference.chance:.2f}"


def _drift(pairs: Sequence[Pair]) -> list[str]:
    """What the very same files say of the two sessions: a machine that is busier makes everything slower."""
    ratios = sorted(pair.time_ratio.value for pair in pairs if pair.is_same_file and pair.time_ratio.value)
    middle = ratios[len(ratios) // 2] if ratios else 1.0
    if 1 / (1 + TIME_NOTICED) <= middle <= 1 + TIME_NOTICED:
        return []
    return [
        f"the same files took {middle:.2f} times as long as then: the machine was busier or idler, or a runtime "
        "changed; times of the others moved with it"
    ]


def _only(run: RunAt, rows: Sequence[Placed]) -> list[str]:
    return [f"only in {run.label}: {_list(map(str, rows))}"] if rows else []


def _value(number: Measurement | None, form: str) -> str:
    return NOT_MEASURED if number is None or number.value is None else f"{number.value:{form}}"


def _megabytes(pair: Pair) -> str:
    old, new = (side.number("model_bytes") for side in (pair.old, pair.new))
    shown = [_value(one and one.model_copy(update={"value": (one.value or 0) / 1e6}), ".2f") for one in (old, new)]
    return shown[0] if shown[0] == shown[1] else " -> ".join(shown)


def _short(cell: Cell) -> str:
    return drawn(2, interval=True)(cell)


def _record(pair: Pair) -> dict[str, Any]:
    points, score = pair.points, pair.difference
    sides = {"old": pair.old, "new": pair.new}
    numbers = {
        f"{side}_{metric}": getattr(row.number(name), "value", None)
        for metric, name in (("metric", pair.metric), ("bytes", "model_bytes"), ("ms", "latency_ms"))
        for side, row in sides.items()
    }
    return {
        "task": pair.task,
        "name": pair.name,
        "target": pair.target,
        "old_run": pair.old_run,
        "new_run": pair.new_run,
        "old_digest": pair.old.digest,
        "new_digest": pair.new.digest,
        "metric_name": pair.metric,
        **numbers,
        "points": points.value,
        "points_low": points.low,
        "points_high": points.high,
        "texts": points.n,
        "paired": score.paired,
        "why_not_paired": score.unpaired or points.why,
        "size_ratio": pair.size_ratio.value,
        "time_ratio": pair.time_ratio.value,
        "time_ratio_low": pair.time_ratio.low,
        "time_ratio_high": pair.time_ratio.high,
        "why_no_time_ratio": pair.time_ratio.why,
        "verdict": pair.verdict,
        "said": pair.said(),
    }
