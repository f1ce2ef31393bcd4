"""The grid of our own int8: symmetric, one scale for each row."""

import numpy as np
from jaxtyping import Float, Float32, Int8
from numpy import ndarray

LEVELS = 127


def int8_rows(matrix: Float[ndarray, "rows width"]) -> tuple[Int8[ndarray, "rows width"], Float32[ndarray, " rows"]]:
    """Integers and scales: integer * scale is the nearest to the weight that the row's grid has, its largest weight
    exact.

    A row of zeros has scale 1.
    """
    scales = (np.abs(matrix).max(axis=1, initial=0) / LEVELS).astype(np.float32)
    scales[scales == 0] = 1
    return np.clip(np.rint(matrix / scales[:, None]), -LEVELS, LEVELS).astype(np.int8), scales


def widened(integers: Int8[ndarray, "rows width"], scales: Float32[ndarray, " rows"]) -> Float32[ndarray, "rows width"]:
    """The weights that the integers stand for, as every runtime here computes them: one float32 product each."""
    weights: Float32[ndarray, "rows width"] = integers.astype(np.float32) * scales[:, None]
    return weights
