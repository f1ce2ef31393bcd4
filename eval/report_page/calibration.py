"""Calibration: how often a model is right when it says how sure it is."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palmtop.eval.report_page.markup import Markup, folded, not_kept, pair, paragraph, part, table
from palmtop.eval.report_page.svg import lines
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.table import Row

TITLE = "How sure it is, and how often it is right"
BINS = 15
"""As in Guo et al. 2017."""


@dataclass(frozen=True)
class Bin:
    """Claims of about the same sureness."""

    low: float
    high: float
    n: int
    sure: float
    """Their mean probability."""
    right: float
    """The share of them that are right."""


def bins(sure: Float[ndarray, " claims"], right: Bool[ndarray, " claims"], count: int = BINS) -> list[Bin]:
    """Claims by their probability: bin m of M holds those in ((m - 1) / M, m / M], and the first 0 too; without the
    empty ones."""
    place = np.clip(np.ceil(sure * count).astype(int) - 1, 0, count - 1)
    return [
        Bin(m / count, (m + 1) / count, int(inside.sum()), float(sure[inside].mean()), float(right[inside].mean()))
        for m in range(count)
        if (inside := place == m).any()
    ]


def expected_calibration_error(found: list[Bin]) -> float:
    """ECE = sum over bins m of |B_m| / n * |acc(B_m) - conf(B_m)|, bins of equal width (Guo, Pleiss, Sun and
    Weinberger 2017, "On Calibration of Modern Neural Networks", 1706.04599, equation 3; after Naeini et al. 2015).

    acc is `right`, conf is `sure`. For several labels a text a claim is one label of one text, so acc is the share that
    have the label.
    """
    return sum(each.n * abs(each.right - each.sure) for each in found) / sum(each.n for each in found)


def calibration(found: Found) -> Markup:
    """ECE of every artefact, and reliability curves of those that matter."""
    if found.data is None:
        return part(TITLE, not_kept(found.no_data))
    if not found.data.task.of_kind.ranks:
        return part(TITLE, paragraph(f"{found.data.task.kind} answers with no probabilities of labels"))
    measured = [(row, bins(*_claims(found, row))) for row in found.answered()]
    if not measured:
        return part(TITLE, not_kept("the answers of any artefact"))
    matter = [each for each in measured if each[0] in (found.teacher, found.advised) or "floor" in each[0].roles]
    shown = matter or measured[:3]
    curves = {
        f"{found.shown(row)}: ECE {expected_calibration_error(binned):.3f}": [
            (each.sure, each.right) for each in binned
        ]
        for row, binned in shown
    }
    says = "Answers in bins of equal width: across how sure they are, up the share that is right."
    return part(
        TITLE,
        paragraph(
            f"ECE (expected calibration error, {BINS} bins of equal width): by how much what a model says of its own "
            "sureness is off on average; 0 is best. A mark below the faint line: too sure of itself. A mark of few "
            "answers says little; how many each stands for is told under 'The bins'."
        ),
        pair(
            lines("Reliability", says, curves, "how sure (mean probability)", "share that is right", square=True),
            _table(found, measured),
        ),
        folded("The bins", *(_bins(found, row, binned) for row, binned in shown)),
    )


def _claims(found: Found, row: Row) -> tuple[Float[ndarray, " claims"], Bool[ndarray, " claims"]]:
    outputs = found.answers(row)
    assert found.data is not None and outputs is not None
    kind = found.data.task.of_kind
    return kind.claims(kind.likelihoods(outputs, found.signature(row)), found.data.split.labels)


def _table(found: Found, measured: list[tuple[Row, list[Bin]]]) -> Markup:
    rows = [
        [found.shown(row), f"{expected_calibration_error(binned):.4f}", *_means(binned)] for row, binned in measured
    ]
    return table("Calibration", ["model", "ECE", "mean sureness", "share right", "answers"], rows)


def _means(binned: list[Bin]) -> list[str]:
    """How sure and how right over all bins, and of how many answers."""
    n = sum(each.n for each in binned)
    sure, right = (sum(each.n * value for each, value in zip(binned, side, strict=True)) / n for side in _sides(binned))
    return [f"{sure:.3f}", f"{right:.3f}", f"{n:,}"]


def _sides(binned: list[Bin]) -> tuple[list[float], list[float]]:
    return [each.sure for each in binned], [each.right for each in binned]


def _bins(found: Found, row: Row, binned: list[Bin]) -> Markup:
    rows = [
        [f"{each.low:.2f} to {each.high:.2f}", str(each.n), f"{each.sure:.3f}", f"{each.right:.3f}"] for each in binned
    ]
    return table(found.shown(row), ["sureness", "answers", "mean sureness", "share right"], rows)
