"""The metrics of tasks: one number from answers and labels."""

import math

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from palmtop.task import METRICS, Kind, Metric, Split
from palmtop.task_kinds.squad import marks


def graded(kind: Kind, outputs: Float[ndarray, "texts outputs"], split: Split) -> Float[ndarray, "texts outputs"]:
    """What is scored of a model's outputs: themselves, or of spans [texts, 2] (`spans.characters`) each text's F1 and
    exact match."""
    return marks(outputs, split.labels, [text[1] for text in split.texts]) if kind == "question_answering" else outputs


def answers_of(metric: Metric, outputs: Float[ndarray, "texts outputs"]) -> Num[ndarray, " texts"]:
    """What a metric looks at: class numbers, values of a regression, or the marks of spans."""
    if metric in METRICS["question_answering"]:
        return outputs[:, METRICS["question_answering"].index(metric)]
    return outputs[:, 0].astype(np.float64) if metric in METRICS["regression"] else outputs.argmax(axis=1)


def of_outputs(metric: Metric, outputs: Float[ndarray, "texts outputs"], labels: Num[ndarray, " texts"]) -> float:
    """The metric of a model's outputs, `graded`; NaN where it isn't defined, or an output isn't finite."""
    if not np.isfinite(outputs).all():
        return math.nan
    return value(metric, answers_of(metric, outputs), labels, outputs.shape[1])


def value(metric: Metric, answers: Num[ndarray, " texts"], labels: Num[ndarray, " texts"], classes: int) -> float:
    """The metric of what `answers_of` gives."""
    if metric in METRICS["question_answering"]:
        return float(answers.mean())
    if metric == "accuracy":
        return float((answers == labels).mean())
    if metric == "macro_f1":
        return macro_f1(confusion(answers, labels, classes))
    if metric == "matthews":
        return matthews(confusion(answers, labels, classes))
    return _pearson(*(_ranks(side) if metric == "spearman" else side.astype(np.float64) for side in (answers, labels)))


def confusion(
    answers: Int[ndarray, " texts"], labels: Int[ndarray, " texts"], classes: int
) -> Int[ndarray, "labels answers"]:
    """How often each label got each answer."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)


def macro_f1(counts: Int[ndarray, "labels answers"]) -> float:
    """Mean F1 over the classes that occur among labels or answers; NaN when there are none."""
    sums = counts.sum(axis=0) + counts.sum(axis=1)
    return float((2 * counts.diagonal()[sums > 0] / sums[sums > 0]).mean()) if sums.any() else math.nan


def matthews(counts: Int[ndarray, "labels answers"]) -> float:
    """Matthews' correlation for several classes (Gorodkin 2004, eq. 8); NaN when all answers or all labels are the
    same."""
    labels, answers, n = counts.sum(axis=1).astype(float), counts.sum(axis=0).astype(float), float(counts.sum())
    below = (n * n - labels @ labels) * (n * n - answers @ answers)
    return float((n * counts.trace() - labels @ answers) / math.sqrt(below)) if below > 0 else math.nan


def _pearson(first: Float[ndarray, " texts"], second: Float[ndarray, " texts"]) -> float:
    first, second = first - first.mean(), second - second.mean()
    below = math.sqrt((first @ first) * (second @ second))
    return float(first @ second / below) if below > 0 else math.nan


def _ranks(values: Num[ndarray, " texts"]) -> Float[ndarray, " texts"]:
    from scipy.stats import rankdata

    return rankdata(values)  # type: ignore[no-any-return]  # scipy is untyped
