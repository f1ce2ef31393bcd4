"""Files of one model, or lengths of one file, timed in turns, so that a busy machine treats them alike."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import fmean, median

from palmtop import target
from palmtop.bundle import Format
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.signature import Signature
from palmtop.target import Runner

TURNS, RUNS, WARM_UP = 6, 10, 3
LENGTH = 32
"""Tokens at which files are compared."""
TEXT: Text = ("what will the weather be like in lisbon tomorrow morning",)


def medians_ms(artefacts: Sequence[tuple[Format, Path]]) -> list[float]:
    """Median milliseconds of one answer of each, padded to 32 tokens or to what all of them accept; one thread, no
    tokenization."""
    tokens = min(LENGTH, *(Signature.read(folder).max_length for _, folder in artefacts))
    with ExitStack() as stack:
        runtimes = {
            form: target.for_format(form) for form, _ in artefacts
        }  # files that are open in one share its browser
        runners = [stack.enter_context(runtimes[form].open(folder, 1)) for form, folder in artefacts]
        return _in_turns([(runner, tokens) for runner in runners], artefacts[0][1])


def medians_by_length_ms(form: Format, folder: Path, lengths: Sequence[int]) -> list[float]:
    """Median milliseconds of one answer of a file at each length; one thread, no tokenization."""
    with target.for_format(form).open(folder, 1) as runner:
        return _in_turns([(runner, length) for length in lengths], folder)


def mean_ms(form: Format, folder: Path, texts: Sequence[Encoding], length: int) -> tuple[float, float]:
    """Milliseconds of an answer, mean over texts one after another, each at its own length, and all padded to `length`;
    one thread."""
    means: dict[int | None, list[float]] = {None: [], length: []}
    with target.for_format(form).open(folder, 1) as runner:
        for _ in range(TURNS):
            for padded, taken in means.items():
                runner.latencies_ms(texts, padded, WARM_UP)
                taken.append(fmean(runner.latencies_ms(texts, padded, len(texts))))
    return median(means[None]), median(means[length])


def _in_turns(seats: Sequence[tuple[Runner, int]], folder: Path) -> list[float]:
    text = HostTokenizer(folder, min(tokens for _, tokens in seats)).encode([TEXT])
    times: list[list[float]] = [[] for _ in seats]
    for _ in range(TURNS):
        for seat, (runner, tokens) in enumerate(seats):
            runner.latencies_ms(text, tokens, WARM_UP)
            times[seat] += runner.latencies_ms(text, tokens, RUNS)
    return [median(taken) for taken in times]
