"""Drawings of the page: small SVG in the page's own colours, readable at the width of a phone, each with its title and
its description."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palmtop.eval.report_page.markup import Markup, clip, element, items, joined

WIDTH = 420
"""Units across every drawing: about as many pixels on a phone, so letters have one size on all of them."""
ROW = 42
"""Units from one bar to the next: a line of words, and under it the bar."""
LINE = 62
"""Letters that fit in a line of words."""
TOP, BAR = 19, 14
"""Where a row's bar begins, and how thick it is."""
STROKES = (("", "circle"), ("7 3", "square"), ("2 3", "triangle"), ("9 3 2 3", "diamond"), ("4 4", "circle"))
"""Dashes and markers that tell lines apart without their colours."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """From numbers to places across (or up) a drawing."""

    low: float
    high: float
    start: float = 6
    end: float = WIDTH - 6
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(number) for number in (self.low, self.high, value))
            if self.logarithmic
            else (self.low, self.high, value)
        )
        share = (at - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


@dataclass(frozen=True)
class BarRow:
    """A row of a drawing of bars: what is said over it, and its shapes, drawn from `TOP` down."""

    says: str
    value: str
    shapes: Sequence[Markup]


def drawing(title: str, says: str, height: float, *shapes: str) -> Markup:
    """An SVG with its title and description for who doesn't see it."""
    return element(
        "svg",
        element("title", title),
        element("desc", says),
        *shapes,
        viewBox=f"0 0 {WIDTH} {height:g}",
        role="img",
        class_="drawing",
    )


def bars(title: str, says: str, rows: Sequence[BarRow], foot: Sequence[Markup] = ()) -> Markup:
    """Rows of bars, one under the other.

    Args:
        foot: what stands under them, drawn from 0 down: an axis.
    """
    groups = [
        element(
            "g",
            element("title", f"{row.says}: {row.value}"),
            words(0, 12, clip(row.says, max(12, LINE - len(row.value)))),
            words(WIDTH, 12, row.value, "end", class_="value"),
            *row.shapes,
            transform=f"translate(0 {place * ROW})",
        )
        for place, row in enumerate(rows)
    ]
    below = element("g", *foot, transform=f"translate(0 {len(rows) * ROW})")
    return drawing(title, says, len(rows) * ROW + (22 if foot else 0), *groups, below)


def words(x: float, y: float, said: str, anchor: str = "start", class_: str | None = None) -> Markup:
    """A line of words."""
    return element("text", said, x=x, y=y, text_anchor=anchor, class_=class_)


def block(left: float, right: float, class_: str, top: float = TOP, height: float = BAR) -> Markup:
    """A bar, never thinner than what can be seen."""
    return element("rect", x=min(left, right), y=top, width=max(1.5, abs(right - left)), height=height, class_=class_)


def stroke(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def marker(shape: str, x: float, y: float, class_: str) -> Markup:
    """A mark of about 8 units."""
    if shape == "circle":
        return element("circle", cx=x, cy=y, r=4, class_=class_)
    corners = {
        "square": ((-3.5, -3.5), (3.5, -3.5), (3.5, 3.5), (-3.5, 3.5)),
        "triangle": ((0, -4.5), (4.5, 3.5), (-4.5, 3.5)),
        "diamond": ((0, -5), (5, 0), (0, 5), (-5, 0)),
    }[shape]
    return element("polygon", points=" ".join(f"{x + dx:g},{y + dy:g}" for dx, dy in corners), class_=class_)


def axis(scale: Scale, form: str = "g") -> list[Markup]:
    """The numbers under rows of bars."""
    shown = ticks(scale.low, scale.high, scale.logarithmic)
    return [
        stroke(scale.start, 0, scale.end, 0, "axis"),
        *(
            joined([stroke(scale(tick), 0, scale(tick), 4, "axis"), words(scale(tick), 17, f"{tick:{form}}", "middle")])
            for tick in shown
        ),
    ]


def lines(title: str, says: str, series: Mapping[str, Points], across: str, up: str, square: bool = False) -> Markup:
    """Lines over two axes, and the key to them.

    Args:
        square: both axes go from 0 to 1, and a faint line says where they are equal.
    """
    every = [point for points in series.values() for point in points]
    left, bottom = 46, 214
    xs, ys = [0.0, 1.0] if square else [x for x, _ in every], [0.0, 1.0] if square else [y for _, y in every]
    room = (max(ys) - min(ys)) * 0.06 or abs(max(ys)) * 0.05 or 1.0
    x = Scale(min(xs), max(xs), left + 6, WIDTH - 10)
    y = Scale(*((0.0, 1.0) if square else (min(ys) - room, max(ys) + room)), bottom, 22)
    grid = [
        joined([stroke(left, y(tick), WIDTH - 4, y(tick), "grid"), words(left - 5, y(tick) + 4, f"{tick:g}", "end")])
        for tick in ticks(y.low, y.high)
    ]
    grid += [words(x(tick), bottom + 18, f"{tick:g}", "middle") for tick in ticks(x.low, x.high)]
    equal = [stroke(x(0), y(0), x(1), y(1), "equal")] if square else []
    drawn = [_line(points, x, y, place) for place, points in enumerate(series.values())]
    labels = [
        words(0, 12, up),
        words(WIDTH - 4, bottom + 36, across, "end"),
        stroke(left, bottom, WIDTH - 4, bottom, "axis"),
    ]
    return joined([drawing(title, says, bottom + 44, *grid, *equal, *labels, *drawn), key(list(series))])


def key(names: Sequence[str]) -> Markup:
    """Which line is whose."""
    samples = [
        element(
            "svg",
            element("line", x1=0, y1=6, x2=30, y2=6, class_=f"line c{place % len(STROKES)}", stroke_dasharray=dashes),
            marker(shape, 15, 6, f"mark c{place % len(STROKES)}"),
            viewBox="0 0 30 12",
            class_="sample",
            aria_hidden="true",
        )
        for place, (dashes, shape) in ((place, STROKES[place % len(STROKES)]) for place in range(len(names)))
    ]
    return items((joined([sample, name]) for sample, name in zip(samples, names, strict=True)), class_="key")


def ticks(low: float, high: float, logarithmic: bool = False) -> list[float]:
    """Round numbers between two: 1, 2 or 5 times a power of ten; four or so."""
    if logarithmic:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        return [tick for power in powers for tick in (10.0**power, 3 * 10.0**power) if low <= tick <= high]
    if high <= low:
        return [low]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def _line(points: Points, x: Scale, y: Scale, place: int) -> Markup:
    dashes, shape = STROKES[place % len(STROKES)]
    colour = f"c{place % len(STROKES)}"
    placed = [(x(across), y(up)) for across, up in points]
    path = element(
        "polyline",
        points=" ".join(f"{across:g},{up:g}" for across, up in placed),
        class_=f"line {colour}",
        stroke_dasharray=dashes or None,
    )
    every = max(1, len(placed) // 12)
    return joined([path, *(marker(shape, across, up, f"mark {colour}") for across, up in placed[::every])])
