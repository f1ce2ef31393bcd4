"""How good answers are: metrics with 95 % intervals, agreement of two models, a paired test."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from palmtop.metrics import answers_of, confusion, macro_f1, matthews, value
from palmtop.task import METRICS, Metric

Z = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""
RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Score:
    """A number between its 95 % bounds; or no number, and why."""

    value: float | None
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    n: int | None = None
    """How many texts or runs it comes from."""
    why: str | None = None
    """Why the number doesn't exist."""


def scores(
    kind: str,
    outputs: Float[ndarray, "texts outputs"],
    labels: Num[ndarray, " texts"],
    label_names: tuple[str, ...],
) -> dict[str, Score]:
    """Every metric of a task of this kind: Wilson's interval for accuracy and exact match, the bootstrap's for the
    others.

    Args:
        outputs: as palmtop.metrics.graded gives them.
    """
    fault = _fault(outputs, len(label_names))
    if fault:
        return {metric: Score(None, n=len(labels), why=fault) for metric in METRICS[kind]}
    if kind == "regression":
        return {metric: _correlation(metric, outputs[:, 0], labels) for metric in METRICS[kind]}
    if kind == "question_answering":
        f1, exact = (answers_of(metric, outputs) for metric in METRICS[kind])
        return {
            "f1": bootstrapped(lambda chosen: float(f1[chosen].mean()), len(labels), ""),
            "exact_match": proportion(int(exact.sum()), len(labels)),
        }
    answers, classes = outputs.argmax(axis=1), len(label_names)
    return {
        "accuracy": proportion(int((answers == labels).sum()), len(labels)),
        "macro_f1": _from_counts(macro_f1, "no answer and no label is of any class", answers, labels, classes),
        "matthews": _from_counts(matthews, "all answers, or all labels, are the same", answers, labels, classes),
    }


def agreement(kind: str, outputs: Float[ndarray, "texts outputs"], other: Float[ndarray, "texts outputs"]) -> Score:
    """How far two models give the same answers: the share of equal labels or spans, or Pearson's r of two regressions.

    Args:
        outputs: of questions on a context the spans themselves, [texts, 2].
    """
    fault = _fault(outputs, other.shape[1]) or _fault(other, other.shape[1])
    if fault:
        return Score(None, n=len(outputs), why=fault)
    if kind == "regression":
        return _correlation("pearson", outputs[:, 0], other[:, 0])
    same = (
        (outputs == other).all(axis=1)
        if kind == "question_answering"
        else outputs.argmax(axis=1) == other.argmax(axis=1)
    )
    return proportion(int(same.sum()), len(outputs))


def proportion(hits: int, n: int) -> Score:
    """hits / n with Wilson's score interval (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4)."""
    share, spread = hits / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    return Score(share, "share", max(0.0, middle - half), min(1.0, middle + half), n)


def mcnemar(answers: Int[ndarray, " texts"], others: Int[ndarray, " texts"], labels: Int[ndarray, " texts"]) -> float:
    """p of McNemar's exact test (McNemar 1947): how likely two equally good models differ this much on these texts.

    Two-sided binomial test on the texts that only one of the two gets right; 1 when there are none.
    """
    from scipy.stats import binomtest

    right, other_right = answers == labels, others == labels
    only, only_other = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    return float(binomtest(only, only + only_other).pvalue) if only + only_other else 1.0


def difference(
    metric: Metric,
    outputs: Float[ndarray, "texts outputs"],
    other: Float[ndarray, "texts outputs"],
    labels: Num[ndarray, " texts"],
) -> Score:
    """The first model's metric minus the other's on the same texts, both `graded`, with the paired bootstrap's
    interval."""
    fault = _fault(outputs, other.shape[1]) or _fault(other, other.shape[1])
    if fault:
        return Score(None, n=len(labels), why=fault)
    classes = outputs.shape[1]
    ours, theirs = (answers_of(metric, side) for side in (outputs, other))

    def of(chosen: Int[ndarray, " rows"]) -> float:
        return value(metric, ours[chosen], labels[chosen], classes) - value(
            metric, theirs[chosen], labels[chosen], classes
        )

    return bootstrapped(of, len(labels), f"{metric} isn't defined for one of the two")


def bootstrapped(of: Callable[[Int[ndarray, " rows"]], float], n: int, why: str) -> Score:
    """The statistic on all rows, and its 2.5 and 97.5 percentiles over resampled rows (Efron 1979), always the same
    resamples."""
    whole = of(np.arange(n))
    if math.isnan(whole):
        return Score(None, n=n, why=f"undefined: {why}")
    random = np.random.default_rng(SEED)
    resampled = np.array([of(random.integers(0, n, n)) for _ in range(RESAMPLES)])
    defined = resampled[~np.isnan(resampled)]
    low, high = map(float, np.percentile(defined, [2.5, 97.5])) if len(defined) else (None, None)
    return Score(whole, low=low, high=high, n=n)


def _correlation(metric: Metric, answers: Float[ndarray, " texts"], values: Num[ndarray, " texts"]) -> Score:
    wide = answers.astype(np.float64)
    return bootstrapped(
        lambda chosen: value(metric, wide[chosen], values[chosen], 1),
        len(values),
        "all answers, or all values, are the same",
    )


def _from_counts(
    metric: Callable[[Int[ndarray, "labels answers"]], float],
    why: str,
    answers: Int[ndarray, " texts"],
    labels: Num[ndarray, " texts"],
    classes: int,
) -> Score:
    return bootstrapped(lambda chosen: metric(confusion(answers[chosen], labels[chosen], classes)), len(labels), why)


def _fault(outputs: Float[ndarray, "texts outputs"], wanted: int) -> str | None:
    if outputs.shape[1] != wanted:
        return f"the model gives {outputs.shape[1]} numbers, {wanted} are wanted"
    broken = int((~np.isfinite(outputs)).any(axis=1).sum())
    return f"{broken} of {len(outputs)} answers aren't finite numbers" if broken else None
