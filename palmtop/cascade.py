"""Cascade: the arithmetic by which two models share the texts, the same in every client.

A text's logits of the first model, divided by a temperature (Guo et al. 2017, 1706.04599, section 4.2), give its
calibrated probabilities. Where the largest of them reaches the threshold, the first's answer stands; elsewhere the
second's own probabilities do (Chow 1970's rule of rejection, with a model in place of a refusal).
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from numpy import ndarray

LEAST = 1e-12
"""A file's own probability that is less counts as this much, as everywhere where probabilities are taken for logits."""
PROBABILITIES = "probabilities"
"""signature.json's word for a file that gives them itself."""


def logits_of(outputs: Float32[ndarray, "texts labels"], output: str) -> Float64[ndarray, "texts labels"]:
    """A file's outputs as logits: those that are probabilities as their logarithms.

    Args:
        output: signature.json's word for them.
    """
    exact = outputs.astype(np.float64)
    return np.log(np.maximum(exact, LEAST)) if output == PROBABILITIES else exact


def probabilities(logits: Float[ndarray, "texts labels"], temperature: float = 1.0) -> Float64[ndarray, "texts labels"]:
    """softmax(logits / temperature), each text's sum 1."""
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    shares: Float64[ndarray, "texts labels"] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def sure(shares: Float64[ndarray, "texts labels"], threshold: float) -> Bool[ndarray, " texts"]:
    """Which texts the first model answers: those whose largest calibrated probability reaches the threshold."""
    reached: Bool[ndarray, " texts"] = shares.max(axis=1) >= threshold
    return reached
