"""Means over the positions of a whole step, from sums over each text's: the same however a step is shared out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int
from numpy import ndarray

from palmtop.compress.learning.encoded import Encoded

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""The label of a position that has none, as torch's cross-entropy skips it."""


class Targets(Protocol):
    """Which tokens a language model is asked for: those hidden (`masked_targets`), or each next one
    (`next_token_targets`)."""

    @property
    def asked(self) -> Encoded:
        """The inputs, as the model sees them."""

    @property
    def positions(self) -> Bool[ndarray, " tokens"]:
        """Those that have a target."""

    def begin(self, epoch: int, order: Sequence[int]) -> None:
        """An epoch starts whose rows come in this order."""

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """`token_labels` [batch, tokens] (IGNORED where there is no target), and `position_share` and `token_share`
        [batch]: what a text's sum over the positions with a target, or over its tokens, is times to be its part in the
        mean over the step.
        """


def step_shares(
    counts: Int[ndarray, " rows"], order: Int[ndarray, " rows"], batch_size: int
) -> Float32[ndarray, " rows"]:
    """For each row: texts of its step / positions of its step, where row r has `counts[r]` positions.

    The loop divides the sum over a step's texts by their number. A text's sum over its positions, times this, becomes
    its part of the mean over all positions of the step, over all processes and accumulated batches.
    """
    shares = np.zeros(len(counts), np.float32)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        shares[rows] = len(rows) / max(1, int(counts[rows].sum()))
    return shares


def per_text(values: "Tensor", chosen: "Tensor") -> "Tensor":
    """Sums over each text's chosen positions: values [chosen] in the order of `chosen` [batch, tokens] (bool) ->
    [batch]."""
    texts = chosen.nonzero()[:, 0]
    return values.new_zeros(len(chosen)).index_add(0, texts, values)
