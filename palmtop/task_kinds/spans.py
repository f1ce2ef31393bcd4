"""Answers as spans of tokens: start and end logits of a question and its context, and the characters of the best
span."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from palmtop.data.encoding import Encoding

OUTSIDE = -1e4
"""Stands for the logits of what is no token of the context. Finite: it is no fault of a model, and goes into JSON."""
MOST_TOKENS = 30
"""Longest answer, as in BERT's run_squad.py (Devlin et al. 2018)."""


def joined(
    rows: Sequence[Float32[ndarray, "2 padded"]], encodings: Sequence[Encoding]
) -> Float32[ndarray, "texts 2 tokens"]:
    """Start and end logits of texts that were padded each to a length of its own, with OUTSIDE where no token of the
    context is."""
    made = np.full((len(rows), 2, max(map(len, encodings))), OUTSIDE, np.float32)
    for answer, row, encoding in zip(made, rows, encodings, strict=True):
        inside = np.flatnonzero(_places(encoding)[:, 0] >= 0)
        answer[:, inside] = row[:, inside]
    return made


def best_tokens(outputs: Float32[ndarray, "texts 2 tokens"]) -> Int64[ndarray, "texts 2"]:
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


def characters(
    outputs: Float32[ndarray, "texts 2 tokens"], encodings: Sequence[Encoding]
) -> Float32[ndarray, "texts 2"]:
    """Begin and end of each answer in its context, without spaces around it; NaN where a logit isn't a finite number.

    Float32 holds every character's number up to 16 million.
    """
    made = np.array(
        [
            _trimmed(encoding, first, last)
            for encoding, (first, last) in zip(encodings, best_tokens(outputs), strict=True)
        ],
        np.float32,
    )
    made[~np.isfinite(outputs).all(axis=(1, 2))] = np.nan
    return made


def texts_of(spans: Float32[ndarray, "texts 2"], encodings: Sequence[Encoding]) -> list[str]:
    """The words of the answers."""
    return [encoding.text[1][int(begin) : int(end)] for encoding, (begin, end) in zip(encodings, spans, strict=True)]


def token_labels(encodings: Sequence[Encoding], golds: Int64[ndarray, "rows answers 2"]) -> Int64[ndarray, "rows 2"]:
    """First and last token of each row's first answer; -1 where it was cut off."""
    labels = np.full((len(encodings), 2), -1, np.int64)
    for row, (encoding, (begin, end)) in enumerate(zip(encodings, golds[:, 0], strict=True)):
        places = _places(encoding)
        touched = np.flatnonzero((places[:, 0] >= 0) & (places[:, 0] < end) & (begin < places[:, 1]))
        if len(touched) and end <= places[:, 1].max():
            labels[row] = touched[0], touched[-1]
    return labels


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
