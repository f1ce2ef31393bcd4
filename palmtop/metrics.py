"""Formulas of metrics and of what is uncertain about them: F1, correlations, intervals, a paired test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

Z = 1.959963984540054
"""The normal quantile of a two-sided 95 % interval."""
RESAMPLES = 1000
SEED = 0
MOST_DRAWN = 20_000
"""Rows of which the resamples are kept, a byte for each row of each: 20 MB."""


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


def pearson(first: Float[ndarray, " texts"], second: Float[ndarray, " texts"]) -> float:
    """Pearson's correlation; NaN when all values of a side are the same."""
    first, second = first - first.mean(), second - second.mean()
    below = math.sqrt((first @ first) * (second @ second))
    return float(first @ second / below) if below > 0 else math.nan


def ranks(values: Num[ndarray, " texts"]) -> Float[ndarray, " texts"]:
    """The rank of each value; equal ones share the mean of theirs."""
    from scipy.stats import rankdata

    return rankdata(values)  # type: ignore[no-any-return]  # scipy is untyped


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
    right, other_right = answers == labels, others == labels
    only, only_other = int((right & ~other_right).sum()), int((other_right & ~right).sum())
    n, ways, fewer = only + only_other, 1, 0
    for number in range(min(only, only_other) + 1):  # `ways`: n over number
        fewer += ways
        ways = ways * (n - number) // (number + 1)
    return min(1.0, float(2 * fewer / (1 << n)))


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


def bootstrapped_mean(values: Float[ndarray, " rows"]) -> Score:
    """`bootstrapped` of a mean: the same resamples, each as how often it draws a row, which is one product for all."""
    n, differs = len(values), np.flatnonzero(values)
    if not 0 < n <= MOST_DRAWN:
        return bootstrapped(lambda chosen: float(values[chosen].mean()), n, "")
    means = _drawn(n)[:, differs].astype(np.float64) @ values[differs] / n
    low, high = map(float, np.percentile(means, [2.5, 97.5]))
    return Score(float(values.mean()), low=low, high=high, n=n)


@lru_cache(maxsize=1)
def _drawn(n: int) -> Int[ndarray, "resamples rows"]:
    """How often each resample of `bootstrapped` draws each row."""
    random = np.random.default_rng(SEED)
    return np.stack([np.bincount(random.integers(0, n, n), minlength=n).astype(np.uint8) for _ in range(RESAMPLES)])


def faults_of(outputs: Float[ndarray, "texts outputs"], wanted: int) -> str | None:
    """Why nothing can be computed of some outputs: there are too few or too many, or some aren't finite."""
    if outputs.shape[1] != wanted:
        return f"the model gives {outputs.shape[1]} numbers, {wanted} are wanted"
    broken = int((~np.isfinite(outputs)).any(axis=1).sum())
    return f"{broken} of {len(outputs)} answers aren't finite numbers" if broken else None
