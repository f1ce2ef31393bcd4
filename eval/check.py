"""The gate: a run held to limits, on its own and against an older one. A limit is broken where that is beyond doubt;
what can't be told is said to be so."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator

from palmtop.errors import UserError, raise_all
from palmtop.eval.measuring.timed import LINEAR
from palmtop.eval.reports.against import Against, Pair, against, chosen, metric_of
from palmtop.eval.reports.choose import check_names
from palmtop.eval.reports.paired import Difference, Differences
from palmtop.eval.reports.run_at import Placed, RunAt, find
from palmtop.settings import Settings

State = Literal["broken", "can't be told", "not comparable", "not checked", "held"]
"""can't be told: the interval lies on both sides of the limit. not comparable: there are no two numbers to compare, or
not the one."""

DROP, RATIO, SHARE = "--max-drop", "--max-latency-ratio", "--min-share"
BESIDE = "--against"

MOST_POINTS = 10
"""A drop of a tenth of all there is to score is no limit."""
MOST_MB = 100_000
"""More is no model, but its bytes or kilobytes taken for MB."""
MOST_RATIO = 5
"""More, or less than its inverse, is no ratio of latencies, but per cent or a difference taken for one."""


class Limits(Settings):
    """What a run must keep; a limit that is None isn't checked."""

    max_drop: float | None = Field(default=None, ge=0)
    """Points, hundredths of the deciding metric, that a row may lose on the older run: 0.5 is 93.5 % after 94 %."""
    max_mb: float | None = Field(default=None, gt=0)
    """MB (10^6 bytes) of a file, its model alone: the column MB."""
    max_latency_ratio: float | None = Field(default=None, gt=0)
    """Median latency by that of the older run: 1.1 is a tenth slower."""
    max_ms: float | None = Field(default=None, gt=0)
    """Milliseconds of one answer, the median: the column ms."""
    min_share: float | None = Field(default=None, gt=0)
    """Share of the teacher's metric that a row must keep: 0.97 is 97 %."""

    @field_validator("max_drop")
    @classmethod
    def _is_in_points(cls, value: float | None) -> float | None:
        if value is not None and value >= MOST_POINTS:
            raise ValueError(
                f"a drop of {value:g} points can't be meant: points are hundredths of a metric that goes to 1, so "
                f"{value:g} of a hundred answers might go wrong; give less than {MOST_POINTS}, as 0.5"
            )
        return value

    @field_validator("max_mb")
    @classmethod
    def _is_in_mb(cls, value: float | None) -> float | None:
        if value is not None and value > MOST_MB:
            raise ValueError(
                f"{value:.0f} MB can't be meant: an MB is 10^6 bytes; {value:.0f} bytes are {value / 1e6:g}"
            )
        return value

    @field_validator("max_latency_ratio")
    @classmethod
    def _is_a_ratio(cls, value: float | None) -> float | None:
        if value is not None and not 1 / MOST_RATIO <= value <= MOST_RATIO:
            raise ValueError(
                f"{value:g} can't be meant: it is the new latency by the old one, so {value:g} lets a file take "
                f"{value:g} times as long; a tenth slower is 1.1"
            )
        return value

    @field_validator("min_share")
    @classmethod
    def _is_a_share(cls, value: float | None) -> float | None:
        if value is not None and value > 1:
            raise ValueError(
                f"{value:g} can't be meant: it is a share of the teacher's metric, from 0 to 1; 97 % is 0.97"
            )
        return value

    @property
    def given(self) -> tuple[str, ...]:
        """The options that were given."""
        return tuple(f"--{name.replace('_', '-')}" for name, value in self.model_dump().items() if value is not None)

    @property
    def of_old(self) -> tuple[str, ...]:
        """Those of them that need an older run."""
        return tuple(option for option in self.given if option in (DROP, RATIO))


@dataclass(frozen=True)
class Outcome:
    """One limit on one row."""

    row: str
    """Name and target."""
    run: str
    option: str
    """The limit's option: '--max-drop'."""
    limit: str
    """Its value with its unit: '0.5 points'."""
    state: State
    found: str
    """The number that was held against it, with its interval."""
    why: str = ""
    """How it was compared, or why it can't be told."""


@dataclass(frozen=True)
class Checked:
    """All outcomes."""

    new: str
    old: str | None
    options: tuple[str, ...]
    """The limits that were given."""
    outcomes: tuple[Outcome, ...]

    def of(self, state: State) -> tuple[Outcome, ...]:
        """The outcomes with this state."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == state)

    @property
    def unjudged(self) -> dict[str, str]:
        """Limits that were judged on no row at all, by option, and why not: a gate without them would do the same."""
        judged = {one.option for one in self.outcomes if one.state not in ("not comparable", "not checked")}
        why = {one.option: one.why for one in reversed(self.outcomes)}
        return {
            option: why.get(option, "no row is a file for a device that isn't the baseline: name the rows with --only")
            for option in self.options
            if option not in judged
        }


def check(new: str, old: str | None, limits: Limits, only: Sequence[str] = ()) -> Checked:
    """Hold a run to limits.

    Args:
        new: RUN or RUN@DATE.
        old: the same, for the limits that need an older run.
        only: names of the rows to check, or patterns. A row whose very name is among them is held to every limit; the
            others to those of size and time only where they are files for a device and not what the rest is compared
            with.

    Raises:
        UserError: no limit, one that can't be checked at all, or what `against` refuses.
    """
    if not limits.given:
        raise UserError("there is nothing to check: give a limit, as --max-mb 5 or --against OLD --max-drop 0.5")
    if old is None and limits.of_old:
        raise UserError(f"{' and '.join(limits.of_old)}: say against which run: --against OLD, or RUN@DATE")
    beside = against(new, old, only) if old is not None else None
    run = beside.new if beside else find(new)
    if beside is None:
        check_names(only, [row.name for row in run.rows])
    rows = chosen(run, only)
    raise_all(_too_fine(limits, rows, run))
    outcomes = [
        *(_of_pairs(beside, limits, only) if beside else ()),
        *_of_rows(rows, run, limits, only),
    ]
    return Checked(run.label, beside.old.label if beside else None, limits.given, tuple(outcomes))


def _too_fine(limits: Limits, rows: Sequence[Placed], run: RunAt) -> list[str]:
    """What is wrong with a drop that no number of these texts can show: a share taken for points, most likely."""
    texts = max((number.n or 0 for row in rows if (number := row.number(metric_of(row, run)))), default=0)
    if not limits.max_drop or not texts or limits.max_drop >= 100 / texts:
        return []
    return [
        f"--max-drop {limits.max_drop:g}: one of {texts:,} texts is {100 / texts:.2g} points already: give 0, or "
        f"points, hundredths of the metric (the share {limits.max_drop:g} is {100 * limits.max_drop:g} points)"
    ]


def _of_pairs(found: Against, limits: Limits, only: Sequence[str]) -> Iterator[Outcome]:
    for row in found.only_old:
        why = found.new.missing.get(row.name) or "name the rows that it should have with --only"
        yield Outcome(str(row), found.new.label, BESIDE, found.old.label, "broken", "not there", why)
    for pair in found.pairs:
        if limits.max_drop is not None:
            yield _drop(pair, limits.max_drop)
        if limits.max_latency_ratio is not None and (pair.name in only or _is_for_a_device(pair.new)):
            yield _ratio(pair, limits.max_latency_ratio)
    for row in found.only_new:
        for option in limits.of_old:
            yield Outcome(str(row), found.new.label, option, "", "not checked", "new", f"not in {found.old.label}")


def _of_rows(rows: Sequence[Placed], run: RunAt, limits: Limits, only: Sequence[str]) -> Iterator[Outcome]:
    taken = Differences()
    for row in rows:
        standing = run.standing(row.task)
        if row.name in only or (_is_for_a_device(row) and row.name not in (standing.baseline, standing.teacher)):
            if limits.max_mb is not None:
                yield _at_most(row, run, "model_bytes", 1e-6, limits.max_mb, "MB")
            if limits.max_ms is not None:
                yield _at_most(row, run, "latency_ms", 1, limits.max_ms, "ms")
        if limits.min_share is not None and row.name != standing.teacher and row.format != LINEAR:
            yield _share(row, run, limits.min_share, taken)


def _is_for_a_device(row: Placed) -> bool:
    return row.format not in ("torch", LINEAR)


def _drop(pair: Pair, most: float) -> Outcome:
    """By the whole interval of the difference, not by its point."""
    limit, cell = f"{most:g} points", pair.points
    if pair.lost_its_metric:
        return Outcome(str(pair), pair.new_run, DROP, limit, "broken", "no metric", cell.why or "")
    if cell.value is None:
        return Outcome(str(pair), pair.new_run, DROP, limit, "not comparable", "", cell.why or "")
    found = _points(cell.value, cell.low, cell.high)
    how = pair.difference.unpaired
    how = f"by the two intervals: {how}" if how else f"paired by text, {cell.n:,} texts"
    if cell.low is None or cell.high is None:
        return Outcome(str(pair), pair.new_run, DROP, limit, "not comparable", found, "there is no interval")
    state = _side(-cell.high, -cell.low, most)
    needed = _texts_needed(pair.difference, most) if state == "can't be told" else ""
    if state == "broken" and pair.difference.may_be_chance:
        state, needed = (
            "can't be told",
            f"; so few differ that it may be chance, McNemar's p is {pair.difference.chance:.2f}",
        )
    return Outcome(str(pair), pair.new_run, DROP, limit, state, found, f"{how}{needed}")


def _side(low: float, high: float, most: float) -> State:
    """Whether an interval lies below a limit, above it, or on both sides."""
    return "held" if high <= most else "broken" if low > most else "can't be told"


def _texts_needed(difference: Difference, most: float) -> str:
    """With how many texts like these the interval would be so narrow that it lay on one side: widths go with the root
    of their number."""
    score = difference.score
    if score.value is None or score.low is None or score.high is None or not score.n:
        return ""
    beyond = -score.value - most / 100
    wide = score.high - score.value if beyond > 0 else score.value - score.low
    if abs(beyond) < 1e-6 * wide:
        return "; the drop is just the limit: no number of texts would tell"
    texts = math.ceil(score.n * (wide / beyond) ** 2)
    rough = round(texts, 1 - len(str(texts)) + 1)
    return f"; about {rough:,} texts like these would tell, if the drop stayed {-100 * score.value:.2g} points"


def _ratio(pair: Pair, most: float) -> Outcome:
    limit, cell = f"{most:g} times", pair.time_ratio
    if cell.value is None or cell.low is None or cell.high is None:
        return Outcome(
            str(pair), pair.new_run, RATIO, limit, "not comparable", "", cell.why or cell.word or "there is no interval"
        )
    found = f"{cell.value:.2f} [{cell.low:.2f}, {cell.high:.2f}]"
    why = "the very same file: the machine or its runtime differs" if pair.is_same_file and cell.low > most else ""
    return Outcome(str(pair), pair.new_run, RATIO, limit, _side(cell.low, cell.high, most), found, why)


def _at_most(row: Placed, run: RunAt, metric: str, scale: float, most: float, unit: str) -> Outcome:
    limit, number = f"{most:g} {unit}", row.numbers.get(metric)
    if number is None or number.value is None:
        why = (number.why if number else None) or "not measured"
        return Outcome(str(row), run.label, f"--max-{unit.lower()}", limit, "not comparable", "", why)
    value = number.value * scale
    low, high = (value if end is None else end * scale for end in (number.low, number.high))
    found = f"{value:.3g} {unit}" + (f" [{low:.3g}, {high:.3g}]" if low < high else "")
    return Outcome(str(row), run.label, f"--max-{unit.lower()}", limit, _side(low, high, most), found)


def _share(row: Placed, run: RunAt, least: float, taken: Differences) -> Outcome:
    """By the difference from the teacher, paired by text where both kept their answers."""
    limit, metric = f"{least:g} of the teacher", metric_of(row, run)
    tried = row.numbers.get(metric)
    teachers = [one for one in run.rows if one.name == run.standing(row.task).teacher and one.task == row.task]
    if not teachers or not (theirs := teachers[0].number(metric)) or not theirs.value or theirs.value < 0:
        return Outcome(str(row), run.label, SHARE, limit, "not comparable", "", f"no teacher with a {metric} above 0")
    if tried is not None and tried.value is None:
        return Outcome(str(row), run.label, SHARE, limit, "broken", f"no {metric}", tried.why or "not valid")
    difference = taken.of(metric, row, run, teachers[0], run)
    score, whole = difference.score, theirs.value
    if score.value is None or score.low is None or score.high is None:
        return Outcome(str(row), run.label, SHARE, limit, "not comparable", "", score.why or "there is no interval")
    value, low, high = (1 + part / whole for part in (score.value, score.low, score.high))
    how = "paired by text" if difference.paired else f"by the two intervals: {difference.unpaired}"
    return Outcome(
        str(row), run.label, SHARE, limit, _side(-high, -low, -least), f"{value:.3f} [{low:.3f}, {high:.3f}]", how
    )


def _points(value: float, low: float | None, high: float | None) -> str:
    return f"{value:+.2f} points" + (f" [{low:+.2f}, {high:+.2f}]" if low is not None and high is not None else "")
