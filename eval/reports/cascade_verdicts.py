"""What a cascade gains: a sentence for each, with what the first of its models answers, what that costs and what it
saves."""

from collections.abc import Sequence

from palmtop.eval.reports.table import Row, Verdict, milliseconds
from palmtop.measurement import ANSWERED_FIRST, DIFFERENCE_LARGER, EXPECTED_MS, Measurement


def is_cascade(row: Row) -> bool:
    """Whether it is two models, the first asked for every text."""
    return ANSWERED_FIRST in row.numbers


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """One for each cascade."""
    return [Verdict(_verdict(row, rows), about=row.name) for row in rows if is_cascade(row)]


def notes(rows: Sequence[Row]) -> list[str]:
    """How the numbers were taken that only cascades, and what they are made of, have."""
    if not any(map(is_cascade, rows)):
        return []
    timed = next((row.numbers[EXPECTED_MS] for row in rows if EXPECTED_MS in row.numbers), None)
    texts = f"{timed.conditions.get('texts')} evaluation texts" if timed else "the evaluation texts"
    return [
        "% by the first: of the evaluation texts, those that a cascade's first model answers; points to the larger: "
        "hundredths of the metric, paired, from its second model alone",
        f"mean ms: from text to answer, the mean over {texts}, of each the median of three, in turns with the models "
        "of the cascade: the first's time for every text, the second's for those of which the first isn't sure",
    ]


def _verdict(row: Row, rows: Sequence[Row]) -> str:
    first = row.numbers[ANSWERED_FIRST]
    difference, ours = row.numbers.get(DIFFERENCE_LARGER), row.numbers.get(EXPECTED_MS)
    larger = _larger(row, rows, difference)
    parts = [
        f"its first model answers {100 * (first.value or 0):.1f} % of the {first.n} texts",
        _time(ours, larger),
        _points(difference, larger),
    ]
    return f"{row}: {', '.join(parts)}"


def _larger(row: Row, rows: Sequence[Row], difference: Measurement | None) -> Row | None:
    digest = difference.conditions.get("with") if difference is not None else None
    return next((other for other in rows if other.digest == digest and other.target == row.target), None)


def _time(ours: Measurement | None, larger: Row | None) -> str:
    if ours is None or ours.value is None:
        return f"its mean time isn't measured ({ours.why})" if ours is not None else "its mean time isn't measured"
    alone = ", tokenization not counted," if "without_tokenization" in ours.noted else ""
    said = f"a text takes {milliseconds(ours.value)} ms in the mean{alone}"
    theirs = larger.numbers.get(EXPECTED_MS) if larger else None
    if larger is None or theirs is None or theirs.value is None or theirs.session != ours.session:
        return said
    marked = "" if ours.kind == "measured" else f", {ours.kind}"
    return (
        f"{said} where {larger.name} takes {milliseconds(theirs.value)} ms ({theirs.value / ours.value:.2f} x{marked})"
    )


def _points(difference: Measurement | None, larger: Row | None) -> str:
    if difference is None:
        return "its larger model alone wasn't measured beside it"
    name = larger.name if larger else "its larger model"
    if difference.value is None:
        return f"no difference from {name} can be told ({difference.why})"
    bounds = [f"{100 * end:+.1f}" for end in (difference.low, difference.high) if end is not None]
    return f"{100 * difference.value:+.1f} points from {name}" + (f" [{', '.join(bounds)}]" if bounds else "")
