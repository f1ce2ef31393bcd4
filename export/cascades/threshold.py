"""The threshold of a cascade: as many texts for the first model as a stated loss, or a stated share, allows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from palmtop.errors import UserError

Metric = Callable[[Bool[ndarray, " texts"]], float]
"""What the cascade reaches when the first model answers these texts, and the second all others."""
POINT_DIGITS = 6
"""A drop of exactly max_drop isn't to fail by a rounding of binary fractions."""


@dataclass(frozen=True)
class Chosen:
    """A threshold, and what it does on the texts that it was chosen by."""

    threshold: float
    share: float
    """Of the texts, answered by the first."""
    drop: float
    """Points that are lost against the second model alone; negative where the cascade is better."""


def by_drop(confidence: Float64[ndarray, " texts"], metric: Metric, max_drop: float) -> Chosen:
    """The threshold that leaves most texts to the first model and loses no more than `max_drop` points (hundredths of
    the metric) against the second alone. Of all thresholds, not only of those before the first that loses more.

    Raises:
        UserError: the first may answer nothing.
    """
    alone = metric(np.zeros(len(confidence), bool))
    tried = (_at(confidence, metric, alone, threshold) for threshold in _thresholds(confidence))
    found = next((one for one in tried if one.drop <= max_drop), None)
    if found is None:
        raise UserError(
            f"the first model is sure of no text so that the cascade loses at most {max_drop:g} points: raise "
            "max_drop, give a better first model, or take the larger one alone"
        )
    return found


def by_share(confidence: Float64[ndarray, " texts"], metric: Metric, share: float) -> Chosen:
    """The threshold that leaves `share` of the texts to the first model, or as little more as equal confidences
    allow."""
    alone = metric(np.zeros(len(confidence), bool))
    tried = [one for one in _thresholds(confidence) if (confidence >= one).sum() >= round(share * len(confidence), 6)]
    return _at(confidence, metric, alone, tried[-1])


def _thresholds(confidence: Float64[ndarray, " texts"]) -> Float64[ndarray, " thresholds"]:
    """All that differ in what the first answers, ascending: 0, which every text reaches, and what lies half-way between
    two confidences, so that no rounding of another machine turns one of these texts."""
    found = np.unique(confidence)
    return np.concatenate([[0.0], (found[:-1] + found[1:]) / 2])


def _at(confidence: Float64[ndarray, " texts"], metric: Metric, alone: float, threshold: float) -> Chosen:
    answered = confidence >= threshold
    drop = round(100 * (alone - metric(answered)), POINT_DIGITS)
    return Chosen(float(threshold), float(answered.mean()), drop)
