"""Causal language modelling: each position is asked for the token after it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from palmtop.compress.language_models.step_means import IGNORED, step_shares
from palmtop.compress.learning.encoded import Encoded

if TYPE_CHECKING:
    from torch import Tensor


class NextWords:
    """The tokens that follow, as labels of the positions before them; nothing is hidden, so nothing is drawn."""

    def __init__(self, data: Encoded, batch_size: int) -> None:
        self.asked, self._batch_size = data, batch_size
        self.positions: Bool[ndarray, " tokens"] = np.ones(len(data.ids), np.bool_)
        """Those that have a next token: all of a row but its last."""
        self.positions[data.offsets[1:] - 1] = False
        following = np.where(self.positions, np.roll(data.ids, -1), IGNORED).astype(np.int32)
        self._answers = replace(data, ids=following, pad_id=IGNORED, inputs=("input_ids",))
        self.begin(0, range(len(data)))

    def begin(self, epoch: int, order: Sequence[int]) -> None:
        """Rows of an epoch come in this order."""
        rows = np.asarray(order)
        self._shares = {
            "position_share": step_shares(self.asked.lengths - 1, rows, self._batch_size),
            "token_share": step_shares(self.asked.lengths, rows, self._batch_size),
        }

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """As `palmtop.compress.language_models.step_means.Targets` says."""
        import torch

        shares = {name: torch.from_numpy(values[list(rows)]) for name, values in self._shares.items()}
        return {"token_labels": self._answers.batch(rows)["input_ids"], **shares}
