"""What is said under a table: where its numbers come from, and what they mean, in plain sentences."""

from collections.abc import Iterable, Sequence
from typing import Any

from palmtop.eval.measuring.timed import apart, in_words
from palmtop.eval.reports import pruning_verdicts
from palmtop.eval.reports.table import NOT_BESIDE, NOT_COMPARABLE, NOT_MEASURED, NOT_VALID, Row, milliseconds
from palmtop.measurement import NOT_RUN, Measurement
from palmtop.target import OWN_LENGTH


def notes(rows: Sequence[Row], task: str, machines: Sequence[dict[str, Any]], baseline: str | None) -> tuple[str, ...]:
    """Task, machines, versions, dates, and how each kind of number was taken."""
    numbers = [number for row in rows for number in row.numbers.values()]
    dates = sorted(number.date for number in numbers)
    texts = _words(number.n for number in numbers if number.metric == "truncated_texts")
    return (
        f"task: {task}; {texts or 'no'} texts, the whole evaluation split, answered in each artefact's own runtime",
        "[low, high]: 95 % interval; Wilson's for shares, the bootstrap's for other metrics and for differences",
        *(_machine(number, machine) for number, machine in enumerate(machines, 1)),
        f"versions: {_versions(numbers)}",
        f"date: {dates[0][:10]}" + (f" to {dates[-1][:10]}" if dates[-1][:10] != dates[0][:10] else ""),
        *_timing(numbers),
        f"points to baseline: hundredths of the metric, from {baseline}; with an interval where both answered in one "
        "run"
        if baseline
        else "baseline: none; measure a .tflite, or name one with --baseline",
        *pruning_verdicts.notes(rows),
        *_kinds(numbers),
        *_oddities(rows),
    )


def verdicts(rows: Sequence[Row], task: str, metric: str) -> tuple[str, ...]:
    """A line for each artefact that is slower than the baseline, not valid, pruned or cut, and what the floor says."""
    slower = [_slower(row, rows) for row in rows if (row.cells["speedup"].value or 1) < 1]
    broken = [
        f"{row}: {metric} is not valid: {row.cells['metric'].why}"
        for row in rows
        if row.cells["metric"].word == NOT_VALID
    ]
    return (*broken, *slower, *_slower_than_float(rows), *pruning_verdicts.verdicts(rows), *_floor(rows, task, metric))


def _machine(number: int, machine: dict[str, Any]) -> str:
    return (
        f"machine {number}: {machine.get('processor')}, {machine.get('cores')} cores, {machine.get('memory_gb')} GB, "
        f"{machine.get('system')}"
    )


def _versions(numbers: Sequence[Measurement]) -> str:
    found: dict[str, set[str]] = {}
    for number in numbers:
        for package, version in (number.machine.get("versions") or {}).items():
            found.setdefault(package, set()).add(str(version))
    return ", ".join(f"{package} {' and '.join(sorted(versions))}" for package, versions in sorted(found.items()))


def _timing(numbers: Sequence[Measurement]) -> list[str]:
    times = [number for number in numbers if number.metric == "latency_ms"]
    if not times:
        return ["latency: not measured"]
    threads, length, runs = (
        _words(time.conditions.get(name) for time in times) for name in ("threads", "length", "runs")
    )
    odd = any(time.conditions.get("padded_to") not in (None, time.conditions.get("length")) for time in times)
    length += " tokens, or what the column 'tokens' says" if odd else " tokens"
    return [
        f"latency: {threads} thread(s), one text at a time, padded to {length}, {runs} timed answers after warm-up; "
        "runtimes of one machine, and pages of the browser, took turns among themselves",
        "text to answer: tokenization and model, each text at the shortest length the artefact accepts",
        "load: from file to first answer, and the memory it added; fresh process, runtime imported, files in the "
        f"disk cache, median of {_words(number.n for number in numbers if number.metric == 'load_ms')}",
    ]


def _kinds(numbers: Sequence[Measurement]) -> list[str]:
    """Where numbers come from that no clock and no run on the real thing gave."""
    others = [number for number in numbers if number.kind not in ("measured", NOT_RUN)]
    return [
        f"{kind}, not measured: numbers of {_words(number.target for number in others if number.kind == kind)}; none "
        "of them is set against one that was measured"
        for kind in sorted({number.kind for number in others})
    ]


def _oddities(rows: Sequence[Row]) -> list[str]:
    """What is particular to single rows."""
    said = []
    for row in rows:
        cut, odd, time = (row.numbers.get(name) for name in ("truncated_texts", "tokenizer_mismatches", "latency_ms"))
        if cut is not None and cut.value:
            said.append(f"{row}: {cut.value:.0f} of {cut.n} texts are longer than it accepts and were cut")
        if odd is not None:
            said.append(f"{row}: its tokenizer gives other ids than Python's for {odd.value or 0:.0f} of {odd.n} texts")
        said += _hard_strings(row)
        if time is not None and time.conditions.get("padded_to") not in (None, time.conditions.get("length")):
            at, asked = time.conditions["padded_to"], time.conditions.get("length")
            said.append(
                f"{row}: timed at {in_words(at)}, {'not padded' if at == OWN_LENGTH else 'the shortest it accepts'} "
                f"for {asked}"
            )
    reasons = dict.fromkeys(
        f"{row}: {column.replace('_', ' ')} {cell.word}: {cell.why}"
        for row in rows
        for column, cell in row.cells.items()
        if cell.why and cell.word == NOT_MEASURED
    )
    return said + list(reasons) + _no_ratios(rows)


def _no_ratios(rows: Sequence[Row]) -> list[str]:
    """Which rows have no ratio though they took turns with the baseline, by reason."""
    without: dict[str, list[str]] = {}
    for row in rows:
        cell = row.cells["speedup"]
        if cell.word == NOT_COMPARABLE and cell.why not in (None, NOT_BESIDE):
            without.setdefault(cell.why or "", []).append(str(row))
    return [f"{', '.join(names)}: x faster {NOT_COMPARABLE}: {why}" for why, names in without.items()]


def _hard_strings(row: Row) -> list[str]:
    """What its client's tokenizer did to strings made to be hard, where that was measured ('palmtop tokens')."""
    ids, answers = row.numbers.get("hard_strings_other_ids"), row.numbers.get("hard_strings_other_answers")
    if ids is None or answers is None:
        return []
    return [
        f"{row}: tokenizer: {ids.n:,} hard strings, {ids.value:.0f} differ in {ids.conditions['tokenizer']}, "
        f"{answers.value:.0f} with another answer"
    ]


def _slower(row: Row, rows: Sequence[Row]) -> str:
    ours = row.numbers["latency_ms"]
    theirs = next(
        other
        for other in rows
        if "baseline" in other.roles
        and other.numbers.get("latency_ms")
        and other.numbers["latency_ms"].session == ours.session
        and other.numbers["latency_ms"].value is not None
    )
    against = theirs.numbers["latency_ms"]
    noise = ", within the noise of this run" if (ours.low or 0) <= (against.high or 0) else ""
    return (
        f"{row} is slower than the baseline: {milliseconds(ours.value)} ms against {milliseconds(against.value)} ms "
        f"({row.cells['speedup'].value:.2f} x{_marked(ours)}){noise}"
    )


def _slower_than_float(rows: Sequence[Row]) -> list[str]:
    """Quantized files slower than the float file they were made of, in one session. (Where that is the baseline, it is
    told already.)"""
    said = []
    for row in rows:
        made_of = next((other for other in rows if _is_float_of(row, other) and "baseline" not in other.roles), None)
        ours, theirs = row.numbers.get("latency_ms"), made_of.numbers.get("latency_ms") if made_of else None
        if (
            ours is None
            or theirs is None
            or ours.session != theirs.session
            or not (ours.value or 0) > (theirs.value or 0) > 0
        ):
            continue
        if apart(ours, theirs):
            continue
        noise = ", within the noise of this run" if (ours.low or 0) <= (theirs.high or 0) else ""
        times = f"{milliseconds(ours.value)} ms against {milliseconds(theirs.value)} ms{_marked(ours)}"
        said.append(f"{row} is slower than {made_of}, of which it was quantized: {times}{noise}")
    return said


def _marked(number: Measurement) -> str:
    return "" if number.kind == "measured" else f", {number.kind}"


def _is_float_of(row: Row, other: Row) -> bool:
    size = row.numbers.get("model_bytes")
    beside = (row.target, row.machine) == (other.target, other.machine)
    return beside and size is not None and size.conditions.get("quantized_from") == other.digest


def _floor(rows: Sequence[Row], task: str, metric: str) -> list[str]:
    """Whether a linear model would do: it is a row, and within the best artefact's interval or above it."""
    if metric not in ("accuracy", "macro_f1", "matthews"):
        return []
    floors = [row for row in rows if "floor" in row.roles and row.cells["metric"].value is not None]
    if not floors:
        name = task.split(" ", maxsplit=1)[0]
        return [f"floor: not measured; run `palmtop tfidf --task {name} --out floor`, then measure it with the others"]
    kinds = {row.cells["metric"].kind for row in floors}
    others = [
        row
        for row in rows
        if "floor" not in row.roles and row.cells["metric"].value is not None and row.cells["metric"].kind in kinds
    ]
    floor, best = (max(some, key=lambda row: row.cells["metric"].value or 0, default=None) for some in (floors, others))
    if floor is None or best is None or (floor.cells["metric"].value or 0) < (best.cells["metric"].low or 0):
        return []
    megabytes = floor.cells["model_mb"].value
    size = f"a {megabytes:.2g} MB linear model" if megabytes is not None else "a linear model"
    verdict = "better" if (floor.cells["metric"].value or 0) > (best.cells["metric"].high or 1) else "as well"
    return [f"{size} does {verdict} here: {floor.name} {_interval(floor)}, best of the others {best} {_interval(best)}"]


def _interval(row: Row) -> str:
    cell = row.cells["metric"]
    return f"{cell.value:.3f}" + (
        f" [{cell.low:.3f}, {cell.high:.3f}]" if cell.low is not None and cell.high is not None else ""
    )


def _words(values: Iterable[object]) -> str:
    return " and ".join(dict.fromkeys(str(value) for value in values if value is not None))
