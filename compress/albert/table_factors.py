"""Two factors of a word embedding: truncated SVD of its rows about their mean, each row as heavy as its token is
frequent."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

GRAIN = 8
"""A width that is chosen, not given, is a multiple of this: products work on that many numbers at once."""


@dataclass(frozen=True)
class Factors:
    """W ~ narrow @ wide + mean. The rows of `wide` are orthonormal, so `wide.T` is its pseudo-inverse."""

    narrow: Float[ndarray, "tokens size"]
    wide: Float[ndarray, "size width"]
    mean: Float[ndarray, " width"]
    energy: float
    """Share of the weighted squared distances from the mean that is kept."""

    def table(self) -> Float[ndarray, "tokens width"]:
        """What stands for W."""
        table: Float[ndarray, "tokens width"] = self.narrow @ self.wide + self.mean
        return table


class Decomposition:
    """The SVD of X = diag(sqrt(f)) (W - mean), f the tokens' weights: no other factors of the same size are nearer in
    the norm that weighs rows with f (Eckart, Young 1936).

    Taken from the eigenvectors V of X^T X, which are X's right singular vectors: the table may have a quarter of a
    million rows.
    """

    def __init__(self, table: Float[ndarray, "tokens width"], weights: Float[ndarray, " tokens"]) -> None:
        """Args: weights: positive; equal ones make it the plain SVD."""
        self._mean = np.average(table.astype(np.float64), axis=0, weights=weights)
        self._table = table
        scaled = np.sqrt(weights / weights.sum())[:, None] * (table - self._mean)
        squares, vectors = np.linalg.eigh(scaled.T @ scaled)
        self._squares, self._right = np.maximum(squares[::-1], 0), vectors.T[::-1]

    def size_for(self, energy: float) -> int:
        """The fewest columns, a multiple of 8 or all, that keep so large a share of the energy."""
        kept = np.cumsum(self._squares) / np.sum(self._squares)
        fewest = int(np.searchsorted(kept, energy - 1e-12)) + 1
        return min(-(-fewest // GRAIN) * GRAIN, len(kept))

    def factors(self, size: int) -> Factors:
        """The best factors of one size. In C order: safetensors would write another order scrambled."""
        wide = self._right[:size]
        energy = float(np.sum(self._squares[:size]) / np.sum(self._squares))
        return Factors(
            np.ascontiguousarray((self._table - self._mean) @ wide.T, np.float32),
            np.ascontiguousarray(wide, np.float32),
            np.ascontiguousarray(self._mean, np.float32),
            energy,
        )


def relative_error(
    table: Float[ndarray, "tokens width"], found: Float[ndarray, "tokens width"], weights: Float[ndarray, " tokens"]
) -> float:
    """sum_t f_t |w_t - w'_t|^2 / sum_t f_t |w_t - mean|^2: 0 is exact, 1 no better than the mean row."""
    mean = np.average(table, axis=0, weights=weights)
    return float((weights @ ((table - found) ** 2).sum(axis=1)) / (weights @ ((table - mean) ** 2).sum(axis=1)))
