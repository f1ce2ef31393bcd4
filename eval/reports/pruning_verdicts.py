"""The verdict on what was pruned or cut: what that saves, and what it doesn't, beside the form of the same model with
all its weights; what is zero is told only where weights were zeroed."""

from collections.abc import Sequence

from palmtop import effect
from palmtop.effect import Effect
from palmtop.eval.measuring.timed import apart
from palmtop.eval.reports.table import Row, Verdict, milliseconds
from palmtop.measurement import Measurement

TIMES = 1.5
"""From here on a speed is told as a multiple."""


def is_pruned(row: Row) -> bool:
    """Whether weights of a measured artefact were zeroed. A trimmed vocabulary is no pruning: fewer rows, none of them
    empty."""
    return "zeros" in _taken_out(row).values()


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """A sentence for each pruned artefact, where what wasn't measured is said to be so; and for each that was only cut,
    if the form that it was cut of is in the table: alone its row says it all."""
    return [
        Verdict(_verdict(row, beside, rows), about=row.name)
        for row, beside in ((row, _beside(row, rows)) for row in rows)
        if is_pruned(row) or (_is_smaller(row) and beside is not None)
    ]


def notes(rows: Sequence[Row]) -> list[str]:
    """How the numbers were taken that only matter where something was pruned."""
    return (
        [
            "MB compressed: what is fetched, each file alone through gzip, as a web server sends it; % not zero: of "
            "the weights in the file, biases and norms among them"
        ]
        if any(map(is_pruned, rows))
        else []
    )


def _taken_out(row: Row) -> dict[str, Effect]:
    """The stages that took weights out of a measured artefact, and how. Numbers from before stages said their effect
    name them all as pruning."""
    size = row.numbers.get("model_bytes")
    said = size.conditions if size else {}
    if "cut_by" in said:
        return {name: "cuts" if name in said["cut_by"] else "zeros" for name in said.get("pruned_by", said["cut_by"])}
    return {name: effect.of_stage(name) or "zeros" for name in said.get("pruned_by", ())}


def _is_smaller(row: Row) -> bool:
    """Whether matrices or tables are smaller, not only emptier."""
    return "cuts" in _taken_out(row).values()


def _verdict(row: Row, beside: Row | None, rows: Sequence[Row]) -> str:
    how, zeros = ("pruned", [_zeros(row)]) if is_pruned(row) else ("cut", [])
    parts = [*zeros, _bytes(row)]
    if beside is None:
        parts.append("its unpruned form was not measured with it")
    else:
        parts += [_speed(row, beside), _download(row, beside), *_structured(row, rows, beside)]
    return f"{row}, {how} by {' and '.join(_taken_out(row))}: {'; '.join(parts)}"


def _beside(row: Row, rows: Sequence[Row]) -> Row | None:
    """The form with all its weights on the same target of the same machine."""
    size = row.numbers.get("model_bytes")
    digest = size.conditions.get("unpruned") if size else None
    if digest is None:
        return None
    return next(
        (other for other in rows if (other.digest, other.target, other.machine) == (digest, row.target, row.machine)),
        None,
    )


def _zeros(row: Row) -> str:
    counted = row.numbers.get("nonzeros")
    if counted is None or counted.value is None or not counted.n:
        return "non-zeros not measured" + (f" ({counted.why})" if counted and counted.why else "")
    return f"{100 * counted.value / counted.n:.0f} % of {counted.n:,} weights are not zero"


def _bytes(row: Row) -> str:
    packed = row.cells["gzip_mb"].value
    dense = f"{row.cells['model_mb'].value or 0:.2f} MB as a file"
    return dense + (
        f", {packed:.2f} MB to fetch compressed" if packed is not None else ", compressed size not measured"
    )


def _speed(row: Row, beside: Row) -> str:
    ours, theirs = _latency(row), _latency(beside)
    if ours is None or theirs is None or ours.session != theirs.session:
        return f"speed not measured side by side with {beside.name}"
    if why := apart(ours, theirs):
        return f"speed not comparable ({why})"
    ratio = (theirs.value or 0) / (ours.value or 1)
    noise = ", within the noise of this run" if _overlap(ours, theirs) else ""
    kind = "" if ours.kind == "measured" else f", {ours.kind}"
    times = f"{milliseconds(ours.value)} ms against {milliseconds(theirs.value)} ms"
    return f"{_faster(ratio)} on {row.target} than {beside.name} ({times}{noise}{kind})"


def _faster(ratio: float) -> str:
    if ratio >= TIMES:
        return f"{ratio:.2f} times faster"
    percent = round(100 * (ratio - 1))
    return f"{abs(percent)} % {'slower' if percent < 0 else 'faster'}"


def _download(row: Row, beside: Row) -> str:
    ours, theirs = (one.cells["gzip_mb"].value for one in (row, beside))
    if ours is None or theirs is None:
        return "as a download not compared"
    percent = round(100 * (1 - ours / theirs))
    return f"{abs(percent)} % {'larger' if percent < 0 else 'smaller'} as a compressed download"


def _structured(row: Row, rows: Sequence[Row], beside: Row) -> list[str]:
    """Of a model that is only emptier: the fastest one with smaller matrices, beside the same unpruned form, that is as
    good and faster than this one."""
    good, ours = row.cells["metric"], _latency(row)
    if _is_smaller(row) or good.value is None or ours is None:
        return []
    base = _latency(beside)
    timed = [
        (other, latency)
        for other in rows
        if _is_smaller(other)
        and _beside(other, rows) is beside
        and (other.cells["metric"].value or 0) >= (good.low if good.low is not None else good.value)
        and (latency := _latency(other)) is not None
        and _together(latency, base)
        and (latency.value or 0) < (ours.value or 0)
    ]
    if not timed or base is None or not _together(ours, base):
        return []
    best, latency = min(timed, key=lambda pair: pair[1].value or 0)
    return [
        f"a structured form, no worse by the interval: {best.name}, {_faster((base.value or 0) / (latency.value or 1))}"
    ]


def _latency(row: Row) -> Measurement | None:
    found = row.numbers.get("latency_ms")
    return found if found is not None and found.value else None


def _together(one: Measurement, other: Measurement | None) -> bool:
    """Whether both took turns, doing the same work."""
    return other is not None and one.session == other.session and apart(one, other) is None


def _overlap(one: Measurement, other: Measurement) -> bool:
    if None in (one.low, one.high, other.low, other.high):
        return False
    return (one.low or 0) <= (other.high or 0) and (other.low or 0) <= (one.high or 0)
