"""The temperature at which a model's probabilities are as often right as they say."""

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from palmtop.cascade import probabilities

COLDEST, HOTTEST = 0.05, 20.0
"""Between them it is looked for. A model that is right about every text would have none: the colder, the likelier."""
STEPS = 60
"""Halvings: of what is left of the range in double precision nothing remains."""


def best_temperature(logits: Float64[ndarray, "texts labels"], labels: Int64[ndarray, " texts"]) -> float:
    """The T that makes the labels likeliest: least mean of -log softmax(logits / T)[label] (Guo et al. 2017,
    1706.04599, section 4.2).

    As a function of b = 1 / T that mean is convex, and its slope is mean(sum_j p_j z_j - z_label), p = softmax(b z):
    its zero is found by halving.
    """
    coolest, warmest = 1 / COLDEST, 1 / HOTTEST  # of b
    for _ in range(STEPS):
        middle = (coolest + warmest) / 2
        if slope(logits, labels, middle) > 0:
            coolest = middle
        else:
            warmest = middle
    return 2 / (coolest + warmest)


def slope(logits: Float64[ndarray, "texts labels"], labels: Int64[ndarray, " texts"], cold: float) -> float:
    """The derivative, by b, of the mean loss at b = `cold`."""
    shares, rows = probabilities(logits, 1 / cold), np.arange(len(labels))
    return float(((shares * logits).sum(axis=1) - logits[rows, labels]).mean())
