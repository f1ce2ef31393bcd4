"""Answers as spans of tokens: start and end logits of a question and its context, the characters of the best span over
a text's windows, and whether there is an answer at all."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy import ndarray

from palmtop.data.encoding import Encoding
from palmtop.task_kinds.gold_spans import ABSENT

OUTSIDE = -1e4
"""Stands for the logits of what is no token of the context. Finite: it is no fault of a model, and goes into JSON."""
MOST_TOKENS = 30
"""Longest answer, as in BERT's run_squad.py (Devlin et al. 2018)."""
NOWHERE = -2
"""Begin and end, among an encoding's places, of the token whose logits stand for 'no answer': [CLS]. Other tokens that
aren't the context's have -1."""


def joined(
    rows: Sequence[Float32[ndarray, "2 padded"]], encodings: Sequence[Encoding]
) -> Float32[ndarray, "windows 2 tokens"]:
    """Start and end logits of texts that were padded each to a length of its own, with OUTSIDE where no token of the
    context is, nor one that stands for no answer."""
    made = np.full((len(rows), 2, max(map(len, encodings))), OUTSIDE, np.float32)
    for answer, row, encoding in zip(made, rows, encodings, strict=True):
        places = _places(encoding)[:, 0]
        inside = np.flatnonzero((places >= 0) | (places == NOWHERE))
        answer[:, inside] = row[:, inside]
    return made


def best_tokens(outputs: Float32[ndarray, "windows 2 tokens"]) -> Int64[ndarray, "windows 2"]:
    """First and last token of the span with the largest sum of start and end logit, of at most `MOST_TOKENS` tokens."""
    starts, ends = outputs[:, 0], outputs[:, 1]
    best = np.full(len(outputs), -np.inf, np.float32)
    found = np.zeros((len(outputs), 2), np.int64)
    every = np.arange(len(outputs))
    for more in range(min(MOST_TOKENS, outputs.shape[2])):
        sums = starts[:, : outputs.shape[2] - more] + ends[:, more:]
        first = sums.argmax(axis=1)
        better = sums[every, first] > best
        best[better] = sums[every, first][better]
        found[better] = np.stack([first, first + more], axis=1)[better]
    return found


def first_windows(encodings: Sequence[Encoding]) -> Int64[ndarray, " texts"]:
    """Where the windows of each text begin."""
    return np.flatnonzero([encoding.part == 0 for encoding in encodings])


def parted(
    outputs: Float32[ndarray, "windows 2 tokens"], encodings: Sequence[Encoding]
) -> tuple[Float32[ndarray, "windows 2 tokens"], Float32[ndarray, " windows"]]:
    """The logits of the context's tokens alone, and the sum of start and end logit of the token that stands for no
    answer, minus infinity where none does."""
    spans, nothing = outputs.copy(), np.full(len(outputs), -np.inf, np.float32)
    for row, encoding in enumerate(encodings):
        marked = np.flatnonzero(_places(encoding)[:, 0] == NOWHERE)
        if len(marked):
            nothing[row] = outputs[row, 0, marked[0]] + outputs[row, 1, marked[0]]
            spans[row, :, marked] = OUTSIDE
    return spans, nothing


def best_of_texts(
    outputs: Float32[ndarray, "windows 2 tokens"], encodings: Sequence[Encoding]
) -> tuple[Int64[ndarray, " texts"], Int64[ndarray, "texts 2"], Float32[ndarray, " texts"]]:
    """Of each text the window with its best span, that span's first and last token, and by how much the logits of no
    answer are above its own: their sum, the least over the windows, as in BERT's run_squad.py, less the span's."""
    spans, nothing = parted(outputs, encodings)
    tokens, every = best_tokens(spans), np.arange(len(spans))
    sums = spans[every, 0, tokens[:, 0]] + spans[every, 1, tokens[:, 1]]
    begins = first_windows(encodings)
    ends = [*begins[1:], len(encodings)]
    windows = np.array([begin + int(sums[begin:end].argmax()) for begin, end in zip(begins, ends, strict=True)])
    return windows, tokens[windows], np.minimum.reduceat(nothing, begins) - sums[windows]


def unanswered(margins: Float32[ndarray, " texts"], threshold: float | None) -> Bool[ndarray, " texts"]:
    """Which texts have no answer, by `best_of_texts`' margins; None: each has one."""
    if threshold is None:
        return np.zeros(len(margins), bool)
    above: Bool[ndarray, " texts"] = margins > np.float32(threshold)
    return above


def characters(
    outputs: Float32[ndarray, "windows 2 tokens"], encodings: Sequence[Encoding], threshold: float | None = None
) -> Float32[ndarray, "texts 2"]:
    """Begin and end of each answer in its context, without spaces around it; ABSENT where there is none, NaN where a
    logit isn't a finite number.

    Float32 holds every character's number up to 16 million.

    Args:
        threshold: the signature's `null_threshold`.
    """
    windows, tokens, margins = best_of_texts(outputs, encodings)
    made = np.array(
        [_trimmed(encodings[window], *span) for window, span in zip(windows, tokens, strict=True)], np.float32
    )
    made[unanswered(margins, threshold)] = ABSENT
    broken = ~np.isfinite(outputs).all(axis=(1, 2))
    made[np.logical_or.reduceat(broken, first_windows(encodings))] = np.nan
    return made


def probabilities(
    outputs: Float32[ndarray, "windows 2 tokens"], encodings: Sequence[Encoding], threshold: float | None
) -> list[float]:
    """Of each text's answer: the softmax of the sums of start and end logit over all spans of all its windows that
    `best_tokens` considers, and no answer beside them where that may be one."""
    spans, nothing = parted(outputs, encodings)
    begins = first_windows(encodings)
    least = np.minimum.reduceat(nothing, begins)
    none = unanswered(best_of_texts(outputs, encodings)[2], threshold)
    made = []
    for row, (begin, end) in enumerate(zip(begins, [*begins[1:], len(encodings)], strict=True)):
        sums = np.concatenate([_sums(logits) for logits in spans[begin:end]])
        chosen = float(least[row]) if none[row] else float(sums.max())
        every = sums if threshold is None else np.append(sums, np.float64(least[row]))
        made.append(float(1 / np.exp(every - chosen).sum()))
    return made


def texts_of(spans: Float32[ndarray, "texts 2"], encodings: Sequence[Encoding]) -> list[str]:
    """The words of the answers; nothing where there is none."""
    texts = [encodings[window].text for window in first_windows(encodings)]
    return [context[int(begin) : int(end)] for (_, context), (begin, end) in zip(texts, spans, strict=True)]


def token_labels(encodings: Sequence[Encoding], golds: Int64[ndarray, "windows answers 2"]) -> Int64[ndarray, "rows 2"]:
    """First and last token of each row's first answer; of a row without one the token that stands for that; -1 where
    the answer was cut off."""
    labels = np.full((len(encodings), 2), -1, np.int64)
    for row, (encoding, (begin, end)) in enumerate(zip(encodings, golds[:, 0], strict=True)):
        places = _places(encoding)
        if begin == ABSENT:
            labels[row] = nowhere(encoding)
            continue
        touched = np.flatnonzero((places[:, 0] >= 0) & (places[:, 0] < end) & (begin < places[:, 1]))
        if len(touched) and end <= places[:, 1].max() and (not encoding.part or places[touched[0], 0] <= begin):
            labels[row] = touched[0], touched[-1]
    return labels


def nowhere(encoding: Encoding) -> int:
    """The token that stands for no answer; -1 where none does."""
    marked = np.flatnonzero(_places(encoding)[:, 0] == NOWHERE)
    return int(marked[0]) if len(marked) else -1


def _sums(logits: Float32[ndarray, "2 tokens"]) -> "ndarray[tuple[int], np.dtype[np.float64]]":
    start, end = logits.astype(np.float64)
    made: ndarray[tuple[int], np.dtype[np.float64]] = np.concatenate(
        [start[: len(start) - more] + end[more:] for more in range(min(MOST_TOKENS, len(end)))]
    )
    return made


def _trimmed(encoding: Encoding, first: int, last: int) -> tuple[int, int]:
    """Characters of some tokens: tokenizers that know words by the space before them count it to the token."""
    places, context = _places(encoding), encoding.text[1]
    begin, end = max(0, int(places[first, 0])), max(0, int(places[last, 1]))
    words = context[begin:end]
    return begin + len(words) - len(words.lstrip()), begin + len(words.rstrip())


def _places(encoding: Encoding) -> Int64[ndarray, "tokens 2"]:
    assert encoding.places is not None, (
        "encode a question and its context with HostTokenizer.of(..., signature of spans)"
    )
    return encoding.places
