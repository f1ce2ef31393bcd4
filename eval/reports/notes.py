"""What is noted under a table: where its numbers come from, and how each kind was taken; whole, and in brief."""

from collections.abc import Iterable, Sequence
from typing import Any

from palmtop.eval.measuring.timed import in_words
from palmtop.eval.reports import cascade_verdicts, pruning_verdicts
from palmtop.eval.reports.table import NOT_BESIDE, NOT_COMPARABLE, NOT_MEASURED, NOT_VALID, Row
from palmtop.measurement import NOT_RUN, OF_CUT_TEXTS, OF_WHOLE_TEXTS, SAMPLE, Measurement
from palmtop.target import OWN_LENGTH

AT_A_GLANCE = ("model_mb", "metric", "kept_percent", "latency_ms", "speedup", "agreement_torch")
"""Columns whose words need their reasons even in brief."""
TIMES = ("latency_ms", "text_latency_ms", "tokenize_ms")
"""Columns that say of a machine which went away, or was hot, that they are not valid; a metric that isn't is a
verdict."""


def notes(rows: Sequence[Row], task: str, machines: Sequence[dict[str, Any]], baseline: str | None) -> tuple[str, ...]:
    """Task, machines, versions, dates, and how each kind of number was taken."""
    numbers = [number for row in rows for number in row.numbers.values()]
    texts = _texts(numbers)
    return (
        f"task: {task}; {texts or 'no'} texts, the whole evaluation split, answered in each artefact's own runtime",
        "[low, high]: 95 % interval; Wilson's for shares, the bootstrap's for other metrics and for differences",
        *(_machine(number, machine) for number, machine in enumerate(machines, 1)),
        f"versions: {_versions(numbers)}",
        f"date: {_dates(numbers)}",
        *_timing(numbers),
        f"points to baseline: hundredths of the metric, from {baseline}; with an interval where both answered in one "
        "run"
        if baseline
        else "baseline: none; measure a .tflite, or name one with --baseline",
        *pruning_verdicts.notes(rows),
        *cascade_verdicts.notes(rows),
        *_kinds(numbers),
        *(f"{row}: {told}" for row, told in _oddities(rows, rows[0].cells if rows else ())),
        *_no_ratios(rows),
    )


def brief(
    rows: Sequence[Row], metric: str, machines: Sequence[dict[str, Any]], baseline: str | None
) -> tuple[str, ...]:
    """The same for a table at a glance, in a few lines: what is said of several rows stands there once."""
    numbers = [number for row in rows for number in row.numbers.values()]
    texts = _texts(numbers)
    odd: dict[str, list[str]] = {}
    for row, told in _oddities(rows, AT_A_GLANCE):
        odd.setdefault(told, []).append(str(row))
    return (
        f"{metric.replace('_', ' ')}: {texts or 'no'} texts, the whole evaluation split, in each file's own runtime, "
        "with its 95 % interval",
        _timing_in_brief(numbers, baseline),
        _machines_in_brief(machines, numbers),
        *_kinds(numbers),
        *(f"{', '.join(names)}: {told}" for told, names in odd.items()),
        *_no_ratios(rows),
    )


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


def _dates(numbers: Sequence[Measurement]) -> str:
    dates = sorted(number.date[:10] for number in numbers)
    return dates[0] + (f" to {dates[-1]}" if dates[-1] != dates[0] else "")


def _machines_in_brief(machines: Sequence[dict[str, Any]], numbers: Sequence[Measurement]) -> str:
    told = [_machine(number, machine) for number, machine in enumerate(machines, 1)]
    return f"{'; '.join(told).removeprefix('machine 1: ') if len(told) == 1 else '; '.join(told)}; {_dates(numbers)}"


def _texts(numbers: Sequence[Measurement]) -> str:
    """How many there are in the split, by those who answered all of them."""
    counted = [number for number in numbers if number.metric == "truncated_texts"]
    return _words(number.n for number in counted if SAMPLE not in number.conditions)


def _timing_in_brief(numbers: Sequence[Measurement], baseline: str | None) -> str:
    times = [number for number in numbers if number.metric == "latency_ms"]
    if not times:
        return "ms: not measured"
    threads, length, runs = (
        _words(time.conditions.get(name) for time in times) for name in ("threads", "length", "runs")
    )
    faster = f"than {baseline}, of what took turns with it" if baseline else "there is no baseline: name one"
    return f"ms: one text of {length} tokens, {threads} thread(s), median of {runs}; x faster: {faster}"


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


def _oddities(rows: Sequence[Row], columns: Iterable[str]) -> list[tuple[Row, str]]:
    """What is particular to single rows; of words that stand for numbers, the reasons of those in `columns`."""
    said = []
    for row in rows:
        cut, odd, time = (row.numbers.get(name) for name in ("truncated_texts", "tokenizer_mismatches", "latency_ms"))
        if cut is not None and SAMPLE in cut.conditions:
            said.append((row, f"answered a sample, {cut.n} texts spread evenly over the split"))
        if cut is not None and cut.value:
            told = f"{cut.value:.0f} of {cut.n} texts are longer than it accepts and were cut"
            said.append((row, told + _what_cutting_costs(row)))
        if odd is not None:
            said.append((row, f"its tokenizer gives other ids than Python's for {odd.value or 0:.0f} of {odd.n} texts"))
        said += [(row, told) for told in _hard_strings(row)]
        if time is not None and time.conditions.get("padded_to") not in (None, time.conditions.get("length")):
            at, asked = time.conditions["padded_to"], time.conditions.get("length")
            short = "not padded" if at == OWN_LENGTH else "the shortest it accepts"
            said.append((row, f"timed at {in_words(at)}, {short} for {asked}"))
    return said + [
        (row, f"{column.replace('_', ' ')} {cell.word}: {cell.why}")
        for row in rows
        for column, cell in row.cells.items()
        if column in columns
        and cell.why
        and (cell.word == NOT_MEASURED or (cell.word == NOT_VALID and column in TIMES))
    ]


def _what_cutting_costs(row: Row) -> str:
    """The deciding metric of the texts that were cut, and of the others, where both were taken."""
    found = [row.numbers.get(metric) for metric in (OF_CUT_TEXTS, OF_WHOLE_TEXTS)]
    parts = [
        f"{number.value:.3f}"
        + (f" [{number.low:.3f}, {number.high:.3f}]" if number.low is not None and number.high is not None else "")
        for number in found
        if number is not None and number.value is not None
    ]
    if len(parts) < len(found) or found[0] is None:
        return ""
    metric = str(found[0].conditions["metric"]).replace("_", " ")
    return f": {metric} {parts[0]} of these, {parts[1]} of the others"


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
        f"tokenizer: {ids.n:,} hard strings, {ids.value:.0f} differ in {ids.conditions['tokenizer']}, "
        f"{answers.value:.0f} with another answer"
    ]


def _words(values: Iterable[object]) -> str:
    return " and ".join(dict.fromkeys(str(value) for value in values if value is not None))
