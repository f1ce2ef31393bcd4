"""Questions that have no answer in their context (SQuAD 2.0): from where on a model says so, and how such rows are
counted."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding
from palmtop.metrics import Score, bootstrapped_mean, proportion
from palmtop.signature import Signature
from palmtop.task_kinds import spans
from palmtop.task_kinds.gold_spans import ABSENT
from palmtop.task_kinds.squad import marks

USUAL = 0.0
"""The threshold where nothing is there to choose one by, as in BERT's run_squad.py."""
HAS, HASNT = "has_answer_", "no_answer_"
PARTS = (f"{HAS}f1", f"{HAS}exact_match", f"{HASNT}exact_match")
"""Metrics of a part of the rows, as SQuAD 2's evaluation script tells them beside those of all (HasAns, NoAns; where
there is no answer, F1 is exact match)."""


def without(labels: Num[ndarray, "rows answers 2"]) -> Bool[ndarray, " rows"]:
    """Which rows have no answer."""
    none: Bool[ndarray, " rows"] = (labels[..., 0] == ABSENT).all(axis=-1)
    return none


def rows_of(metric: str, labels: Num[ndarray, "rows answers 2"]) -> Bool[ndarray, " rows"]:
    """Which rows a metric is about."""
    none = without(labels)
    if metric.startswith(HAS):
        return ~none
    return none if metric.startswith(HASNT) else np.ones(len(none), bool)


def plain(metric: str) -> str:
    """The mark that a metric is the mean of."""
    return metric.removeprefix(HAS).removeprefix(HASNT)


def score(metric: str, looked: Num[ndarray, " rows"], labels: Num[ndarray, "rows answers 2"]) -> Score:
    """A metric of a part of the rows, or of all: Wilson's interval for exact match, the bootstrap's for F1."""
    part = looked[rows_of(metric, labels)].astype(np.float64)
    return proportion(int(part.sum()), len(part)) if plain(metric) == "exact_match" else bootstrapped_mean(part)


def settled(
    outputs: Float32[ndarray, "windows 2 tokens"],
    encodings: Sequence[Encoding],
    labels: Num[ndarray, "texts answers 2"],
    signature: Signature,
) -> Signature:
    """The signature with the threshold at which F1 is best; as it is where no row is without an answer, or each is."""
    none = without(labels)
    if signature.null_threshold is None or none.all() or not none.any():
        return signature
    _, _, margins = spans.best_of_texts(outputs, encodings)
    contexts = [encodings[window].text[1] for window in spans.first_windows(encodings)]
    answered = marks(spans.characters(outputs, encodings), labels, contexts)[:, 0]
    threshold = best_threshold(margins, answered, none.astype(np.float64))
    return signature.model_copy(update={"null_threshold": round(threshold, 6)})


def best_threshold(
    margins: Float32[ndarray, " texts"], answered: Float[ndarray, " texts"], unanswered: Float[ndarray, " texts"]
) -> float:
    """The threshold at which the mean mark is best: texts whose margin is above it get no answer. It lies half-way
    between two margins, or 1 beyond all of them; of equally good ones it is the least.

    Args:
        answered: the mark of each text if it is answered.
        unanswered: its mark if it is not.
    """
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order].astype(np.float64)
    totals = np.append(0.0, np.cumsum((answered - unanswered)[order]))
    ends = np.concatenate([[True], sorted_margins[:-1] < sorted_margins[1:], [True]])
    best = int(np.where(ends, totals, -np.inf).argmax())
    between = np.concatenate([[sorted_margins[0] - 2], sorted_margins, [sorted_margins[-1] + 2]])
    return float((between[best] + between[best + 1]) / 2)
