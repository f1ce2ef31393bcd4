"""How long answers take: the median and the slow ones of each file, as far as a run keeps them."""

from palmtop.eval.report_page.markup import Markup, folded, not_kept, pair, paragraph, part, table
from palmtop.eval.report_page.svg import BAR, TOP, BarRow, Scale, axis, bars, block, marker, stroke
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.table import Row, milliseconds

TITLE = "How long answers take"
WHAT = {
    "latency": "The model alone, padded to one length",
    "text_latency": "From text to answer",
    "tokenize": "Turning a text into tokens",
}
"""Of the names of measurements, what was timed."""
ENDS = ("ms", "p90_ms", "p99_ms")
"""How those names end: of the median, p90 and p99."""
MUCH = 20.0
"""From so many times the fastest on, a linear axis hides the fast ones."""


def latencies(found: Found) -> Markup:
    """A bar for each file from its median to p99, and the numbers."""
    timed = [row for row in found.rows if all(_ms(row, "latency", end) for end in ENDS)]
    if not timed:
        return part(TITLE, not_kept("a latency"))
    ends = [_ms(row, "latency", end) for row in timed for end in ("ms", "p99_ms")]
    logarithmic = max(ends) > MUCH * min(ends)
    scale = Scale(min(ends) * 0.9 if logarithmic else 0, max(ends) * 1.05, logarithmic=logarithmic)
    says = "Of each file the median time of an answer, and those that 90 and 99 of 100 answers don't exceed."
    return part(
        TITLE,
        paragraph(
            "Bar: the median, the model alone. Circle: 90 of 100 answers were no slower. Diamond: 99 of 100."
            + (" The axis is logarithmic." if logarithmic else "")
        ),
        pair(
            bars(TITLE, says, [_bar(found, row, scale) for row in timed], axis(scale)),
            _table(found, "latency"),
        ),
        folded("With tokenization", pair(_table(found, "text_latency"), _table(found, "tokenize"))),
        not_kept("each single time; a run keeps these quantiles, and the interval of the median"),
    )


def _bar(found: Found, row: Row, scale: Scale) -> BarRow:
    middle = TOP + BAR / 2
    median, p90, p99 = (scale(_ms(row, "latency", end)) for end in ENDS)
    shapes = [
        block(scale.start, median, "bar"),
        stroke(median, middle, p99, middle, "whisker"),
        marker("circle", p90, middle, "mark c0"),
        marker("diamond", p99, middle, "mark c1"),
    ]
    return BarRow(f"{found.shown(row)}, {row.target}", f"{milliseconds(_ms(row, 'latency', 'ms'))} ms", shapes)


def _table(found: Found, what: str) -> Markup:
    rows = [
        [
            found.shown(row),
            *(milliseconds(_ms(row, what, end)) for end in ENDS),
            _interval(row, what),
            str(row.numbers[f"{what}_ms"].n or ""),
        ]
        for row in found.rows
        if all(_ms(row, what, end) for end in ENDS)
    ]
    head = ["model", "median ms", "p90", "p99", "95 %", "runs"]
    return table(WHAT[what], head, rows)


def _interval(row: Row, what: str) -> str:
    median = row.numbers[f"{what}_ms"]
    return "" if median.low is None else f"[{milliseconds(median.low)}, {milliseconds(median.high)}]"


def _ms(row: Row, what: str, end: str) -> float:
    number = row.numbers.get(f"{what}_{end}")
    return number.value if number is not None and number.value is not None else 0.0
