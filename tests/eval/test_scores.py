"""Metrics against scikit-learn and scipy, intervals against published figures, the paired test against hand values."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from palmtop import metrics, task_kinds
from palmtop.eval.measuring.latency import quantiles
from palmtop.metrics import confusion, macro_f1, matthews, mcnemar, proportion
from palmtop.task_kinds import find

LABELS, NUMBERS = find("classification"), find("regression")
RIGHT = 0.6
RANDOM = np.random.default_rng(7)


def outputs_for(answers: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[answers]


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_as_in_table_i_of_newcombe_1998(hits: int, n: int, low: float, high: float) -> None:
    score = proportion(hits, n)
    assert score.value == hits / n
    assert (score.low, score.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


@pytest.mark.parametrize("classes", [2, 3, 9])
def test_macro_f1_and_matthews_are_scikit_learns(classes: int) -> None:
    labels = RANDOM.integers(0, classes, 60)
    answers = np.where(RANDOM.random(60) < RIGHT, labels, RANDOM.integers(0, classes, 60))
    counts = confusion(answers, labels, classes + 1)  # a class that never occurs counts in neither
    assert macro_f1(counts) == pytest.approx(f1_score(labels, answers, average="macro"))
    assert matthews(counts) == pytest.approx(matthews_corrcoef(labels, answers))


def test_correlations_are_scipys() -> None:
    values = RANDOM.normal(size=80).astype(np.float32)
    answers = np.round(values + RANDOM.normal(size=80), 1).astype(np.float32)  # rounded: ties
    found = NUMBERS.scores(answers[:, None], values, ("score",))
    assert found["pearson"].value == pytest.approx(stats.pearsonr(answers, values).statistic, abs=1e-6)
    assert found["spearman"].value == pytest.approx(stats.spearmanr(answers, values).statistic)


def test_the_bootstrap_agrees_with_fishers_interval_of_a_correlation_and_never_changes() -> None:
    values = RANDOM.normal(size=500)
    answers = (values + RANDOM.normal(size=500))[:, None].astype(np.float32)
    found = NUMBERS.scores(answers, values, ("score",))["pearson"]
    expected = stats.pearsonr(answers[:, 0], values).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.02), pytest.approx(expected.high, abs=0.02))
    assert NUMBERS.scores(answers, values, ("score",))["pearson"] == found


def test_the_bootstrap_of_a_difference_agrees_with_the_normal_interval_of_paired_shares() -> None:
    labels = RANDOM.integers(0, 3, 2000)
    ours, theirs = (np.where(RANDOM.random(2000) < share, labels, (labels + 1) % 3) for share in (0.8, 0.75))
    found = LABELS.difference("accuracy", outputs_for(ours, 3), outputs_for(theirs, 3), labels)
    paired = (ours == labels).astype(float) - (theirs == labels)
    half = 1.96 * paired.std() / math.sqrt(2000)
    assert found.value == pytest.approx(paired.mean())
    assert (found.low, found.high) == (
        pytest.approx(paired.mean() - half, abs=0.005),
        pytest.approx(paired.mean() + half, abs=0.005),
    )


@pytest.mark.parametrize(("only", "only_other"), [(0, 1), (4, 0), (3, 3), (40, 61), (2000, 2120)])
def test_mcnemars_p_is_scipys_binomial_test(only: int, only_other: int) -> None:
    labels = np.zeros(only + only_other, int)
    ours = np.arange(only + only_other) >= only
    expected = stats.binomtest(only, only + only_other).pvalue
    assert mcnemar(ours.astype(int), 1 - ours.astype(int), labels) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [1, 7, 900, metrics.MOST_DRAWN + 1])
def test_the_bootstrap_of_a_mean_is_the_bootstrap_on_the_same_resamples(rows: int) -> None:
    """Whether it is taken at once or, of many rows, one resample after the other."""
    values = RANDOM.choice([-1.0, 0.0, 0.0, 0.25, 1.0], rows)
    found = metrics.bootstrapped_mean(values)
    expected = metrics.bootstrapped(lambda chosen: float(values[chosen].mean()), rows, "")
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    assert found.n == rows


@pytest.mark.parametrize(
    ("kind", "metric"), [(name, metric) for name in task_kinds.names() for metric in find(name).metrics]
)
def test_a_metric_with_a_part_for_each_text_is_their_mean(kind: str, metric: str) -> None:
    spans = (1, 2) if kind == "question_answering" else ()  # an answer each, its first and last token
    looked, labels = RANDOM.integers(0, 3, 50), RANDOM.integers(0, 3, (50, *spans))
    parts = find(kind).by_text(metric, looked, labels)
    found = ("ndcg_at_10", "recall_at_1", "recall_at_10")
    assert (parts is not None) == (metric in ("accuracy", "f1", "exact_match", *found))
    assert parts is None or parts.mean() == pytest.approx(find(kind).value(metric, looked, labels, 3))


@pytest.mark.parametrize("metric", ["macro_f1", "matthews", "pearson", "spearman"])
def test_a_model_does_not_differ_from_itself(metric: str) -> None:
    outputs = RANDOM.normal(size=(40, 3)).astype(np.float32)
    kind = next(kind for kind in (LABELS, NUMBERS) if metric in kind.metrics)
    found = kind.difference(metric, outputs, outputs, RANDOM.integers(0, 3, 40))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_mcnemar_is_the_binomial_sum_over_texts_that_one_model_alone_gets_right() -> None:
    labels = np.zeros(30, int)
    ours, theirs = np.zeros(30, int), np.zeros(30, int)
    theirs[:10], ours[10:12] = 1, 1
    assert mcnemar(ours, theirs, labels) == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert mcnemar(ours, ours, labels) == 1


def test_agreement_is_a_share_of_equal_labels_or_a_correlation() -> None:
    ours, theirs = outputs_for(np.array([0, 1, 2, 2]), 3), outputs_for(np.array([0, 1, 2, 1]), 3)
    assert (
        LABELS.agreement(ours, theirs).value,
        LABELS.agreement(ours, theirs).unit,
    ) == (
        0.75,
        "share",
    )
    line = np.arange(9, dtype=np.float32)[:, None]
    assert NUMBERS.agreement(line, 2 * line + 1).value == pytest.approx(1)


def test_accuracy_has_wilsons_interval_and_its_n() -> None:
    found = LABELS.scores(outputs_for(np.array([0, 1, 1, 0]), 2), np.array([0, 1, 0, 0]), ("no", "yes"))["accuracy"]
    assert found == proportion(3, 4)
    assert (found.n, found.unit) == (4, "share")


def test_what_cannot_be_a_number_says_why() -> None:
    outputs = outputs_for(np.array([0, 1, 1]), 2)
    labels = np.array([0, 1, 0])
    broken = outputs.copy()
    broken[1, 0] = np.nan
    assert LABELS.scores(broken, labels, ("a", "b"))["accuracy"].why == "1 of 3 answers aren't finite numbers"
    assert LABELS.scores(outputs, labels, ("a", "b", "c"))["accuracy"].why == "the model gives 2 numbers, 3 are wanted"
    alike = LABELS.scores(outputs[1:], labels[:2], ("a", "b"))
    assert alike["matthews"].why == "undefined: all answers, or all labels, are the same"
    same = NUMBERS.scores(np.ones((5, 1), np.float32), np.arange(5), ("score",))["pearson"]
    assert (same.value, same.why) == (None, "undefined: all answers, or all values, are the same")
    assert LABELS.agreement(broken, outputs).why == LABELS.agreement(outputs, broken).why
    assert LABELS.difference("accuracy", broken, outputs, labels).value is None


def test_quantiles_of_times_and_the_medians_interval_by_ranks() -> None:
    found = quantiles([float(number) for number in range(60, 0, -1)])
    assert (found.median, found.p90, found.runs) == (30.5, pytest.approx(54.1), 60)
    assert (found.low, found.high) == (22, 39)  # ranks n/2 - 1.96 sqrt(n)/2 and 1 + n/2 + 1.96 sqrt(n)/2, rounded
    assert stats.binom.cdf(38, 60, 0.5) - stats.binom.cdf(21, 60, 0.5) >= 0.95  # what such an interval covers
