"""How fast models write, side by side: time to the first token, and tokens a second behind it."""

from collections.abc import Mapping, Sequence

from palmtop.data.encoding import Text
from palmtop.eval.measuring.latency import quantiles
from palmtop.metrics import Score
from palmtop.task_kinds.causal_lm import FIRST, PACE
from palmtop.writer import Writer

RUNS = 20
"""Continuations of each model; all take turns."""
TOKENS = 32
"""Of a continuation, where there is room."""


def asked(writers: Sequence[Writer], length: int) -> tuple[int, int]:
    """Tokens of a prompt, and of its continuation, that every model has room for: the prompt is of `length` tokens, or
    of what half of the room leaves."""
    room = min(writer.longest for writer in writers)
    tokens = min(TOKENS, room // 2)
    return min(length, room - tokens), tokens


def paces(writers: Sequence[Writer], texts: Sequence[Text], prompt: int, tokens: int) -> list[Mapping[str, Score]]:
    """Of each model the median time to the first token, and the median of each continuation's tokens a second behind
    the first; both greedy, without tokenization."""
    encodings = [writer.tokenize(texts) for writer in writers]
    times: list[list[list[float]]] = [[] for _ in writers]
    for run in range(RUNS + 1):
        for place, writer in enumerate(writers):
            taken = writer.written_ms([encodings[place][run % len(texts)]], prompt, tokens, 1)
            if run:  # the first is the warm-up
                times[place] += taken
    return [_paces(taken) for taken in times]


def _paces(taken: Sequence[Sequence[float]]) -> Mapping[str, Score]:
    first = quantiles([times[0] for times in taken])
    behind = quantiles([1000 * (len(times) - 1) / sum(times[1:]) for times in taken])
    return {
        FIRST: Score(first.median, "ms", first.low, first.high, first.runs),
        PACE: Score(behind.median, "tokens/s", behind.low, behind.high, behind.runs),
    }
