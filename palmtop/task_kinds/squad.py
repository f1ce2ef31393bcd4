"""SQuAD's metrics: exact match and F1 of an answer's words, as Rajpurkar et al. (2016, section 6.1) count them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray

from palmtop.task_kinds.gold_spans import ABSENT

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """In lower case, without ASCII punctuation, then without articles, with single spaces: SQuAD's evaluation script's
    order."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 where the two are equal once normalised, else 0."""
    return float(normalised(answer) == normalised(gold))


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the normalised words, each as often as it stands there.

    Where nothing is left of one of them, equality decides, as in the script of SQuAD 2.0; that of 1.1 gives 0 to two
    such.
    """
    ours, theirs = normalised(answer).split(), normalised(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs))


def marks(
    spans: Float32[ndarray, "texts 2"],
    golds: Int64[ndarray, "texts answers 2"],
    contexts: Sequence[str],
) -> Float64[ndarray, "texts 2"]:
    """F1 and exact match of each answer, each the best over the gold answers; NaN where the answer isn't a number.
    Where there is no gold answer, 1 for none (SQuAD 2.0's script).

    Args:
        spans: begin and end of the answers, in characters of the contexts; ABSENT where there is none.
        golds: those of the gold answers, as palmtop.task_kinds.gold_spans reads them.
    """
    return np.array([_mark(span, gold, context) for span, gold, context in zip(spans, golds, contexts, strict=True)])


def _mark(span: Float32[ndarray, " 2"], golds: Int64[ndarray, "answers 2"], context: str) -> tuple[float, float]:
    if not np.isfinite(span).all():
        return np.nan, np.nan
    answer = context[int(span[0]) : int(span[1])]
    texts = [context[begin:end] for begin, end in golds if begin != ABSENT] or [""]
    return max(f1(answer, gold) for gold in texts), max(exact_match(answer, gold) for gold in texts)
