"""Masked language modelling: which tokens are hidden in each epoch, the same in a resumed and in a distributed run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, Int32
from numpy import ndarray

from palmtop.compress.language_models.step_means import IGNORED, step_shares
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.special_tokens import Vocabulary
from palmtop.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

TO_MASK, UNCHANGED = 0.8, 0.1
"""Of the chosen tokens; the rest becomes a random id (Devlin et al. 2018, 1810.04805, 3.1)."""


@dataclass(frozen=True)
class Rule:
    """How tokens are chosen."""

    share: float = 0.15
    """Of the real tokens of a step, specials counted, but never chosen."""
    smoothing: float = 0.7
    """A token type seen n times weighs n^-smoothing: rare ones are chosen more often (XLM; DistilBERT's code); 0: all
    alike."""
    longest_span: int = 1
    """Neighbours chosen together: spans of n with P(n) ~ 1/n up to this (ALBERT: 3)."""


class Masks:
    """Inputs with some tokens hidden, and the tokens that were there.

    A step's `batch_size` texts are drawn from together: ceil(share * their tokens) positions without replacement, as
    DistilBERT's reference code does it for a batch. The draw is for all rows of an epoch at once and depends on seed
    and epoch alone, so that every process, and a run continued in the middle, sees the same.
    """

    def __init__(
        self, data: Encoded, rule: Rule, vocabulary: Vocabulary, batch_size: int, seed: int, fixed: bool
    ) -> None:
        """Fixed masks are drawn here and never again; others by `begin`."""
        if vocabulary.mask is None:
            raise UserError(
                "the tokenizer has no mask token, so words can't be hidden: use a model that was pre-trained with "
                "masks, or distill_causal for a decoder"
            )
        self._data, self._rule, self._vocabulary = data, rule, vocabulary
        self._batch_size, self._seed, self._fixed = batch_size, seed, fixed
        self._weights = token_weights(data.ids, vocabulary, rule.smoothing)[data.ids]
        if fixed:
            self._hide(0, np.arange(len(data)))
        self.begin(0, range(len(data)))

    def begin(self, epoch: int, order: Sequence[int]) -> None:
        """Draw for an epoch whose rows come in this order."""
        rows = np.asarray(order)
        if not self._fixed:
            self._hide(epoch, rows)
        counts = np.add.reduceat(self.positions.astype(np.int64), self._data.offsets[:-1])
        self._shares = {
            "position_share": step_shares(counts, rows, self._batch_size),
            "token_share": step_shares(self._data.lengths, rows, self._batch_size),
        }

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """As `palmtop.compress.language_models.step_means.Targets` says, and `input_ids` with tokens hidden."""
        import torch

        shares = {name: torch.from_numpy(values[list(rows)]) for name, values in self._shares.items()}
        return {
            "input_ids": self.asked.batch(rows)["input_ids"],
            "token_labels": self._answers.batch(rows)["input_ids"],
            **shares,
        }

    def _hide(self, epoch: int, order: Int[ndarray, " rows"]) -> None:
        random = np.random.default_rng((self._seed, epoch, 2))
        self.positions: Bool[ndarray, " tokens"] = np.zeros(len(self._data.ids), np.bool_)
        """The chosen ones."""
        for start in range(0, len(order), self._batch_size):
            places, rows = _tokens_of(self._data, order[start : start + self._batch_size])
            self.positions[places[choose(self._weights[places], rows, self._rule, random)]] = True
        self.asked = replace(self._data, ids=hidden(self._data.ids, self.positions, self._vocabulary, random))
        """The data with tokens hidden."""
        self._answers = replace(
            self._data,
            ids=np.where(self.positions, self._data.ids, IGNORED).astype(np.int32),
            pad_id=IGNORED,
            inputs=("input_ids",),
        )


def token_weights(
    ids: Int32[ndarray, " tokens"], vocabulary: Vocabulary, smoothing: float
) -> Float[ndarray, " vocabulary"]:
    """max(count, 1)^-smoothing of each token type; 0 for specials."""
    weights: Float[ndarray, " vocabulary"] = np.maximum(np.bincount(ids, minlength=vocabulary.size), 1.0) ** -smoothing
    weights[list(vocabulary.special)] = 0.0
    return weights


def choose(
    weights: Float[ndarray, " tokens"],
    rows: Int[ndarray, " tokens"],
    rule: Rule,
    random: np.random.Generator,
) -> Int[ndarray, " chosen"]:
    """ceil(share * tokens) places, drawn one after the other without replacement with P ~ weight, or all that have any.

    The order of the keys Exp(1) / weight is that of such a draw (Efraimidis, Spirakis 2006). `rows`: whose token each
    is.
    """
    quota = min(math.ceil(rule.share * len(weights)), int(np.count_nonzero(weights)))
    with np.errstate(divide="ignore"):
        keys = random.exponential(size=len(weights)) / weights
    if rule.longest_span == 1:
        return np.argpartition(keys, quota - 1)[:quota] if quota else np.zeros(0, np.int64)
    return _spans(np.argsort(keys), weights, rows, quota, _span_lengths(len(weights), rule.longest_span, random))


def hidden(
    ids: Int32[ndarray, " tokens"],
    chosen: Bool[ndarray, " tokens"],
    vocabulary: Vocabulary,
    random: np.random.Generator,
) -> Int32[ndarray, " tokens"]:
    """The ids with 80 % of the chosen replaced by the mask token, 10 % left, 10 % a random id of the whole
    vocabulary."""
    assert vocabulary.mask is not None  # Masks refuses a tokenizer without
    made, places = ids.copy(), np.flatnonzero(chosen)
    luck = random.random(len(places))
    strange = random.integers(0, vocabulary.size, len(places))
    made[places] = np.where(luck < TO_MASK, vocabulary.mask, np.where(luck < TO_MASK + UNCHANGED, ids[places], strange))
    return made


def _span_lengths(count: int, longest: int, random: np.random.Generator) -> Int[ndarray, " count"]:
    odds = 1 / np.arange(1, longest + 1)
    return random.choice(np.arange(1, longest + 1), count, p=odds / odds.sum())


def _spans(
    starts: Int[ndarray, " tokens"],
    weights: Float[ndarray, " tokens"],
    rows: Int[ndarray, " tokens"],
    quota: int,
    lengths: Int[ndarray, " tokens"],
) -> Int[ndarray, " chosen"]:
    """Spans from the starts on, in their order; one ends before a special token, another row, a chosen token, or at the
    quota."""
    chosen = np.zeros(len(weights), np.bool_)
    left = quota
    for start in starts.tolist():
        for place in range(start, min(start + int(lengths[start]), start + left, len(weights))):
            if chosen[place] or weights[place] == 0 or rows[place] != rows[start]:
                break
            chosen[place] = True
            left -= 1
        if not left:
            break
    return np.flatnonzero(chosen)


def _tokens_of(data: Encoded, rows: Int[ndarray, " rows"]) -> tuple[Int[ndarray, " tokens"], Int[ndarray, " tokens"]]:
    """The places of the tokens of some rows, one row after the other, and whose each is."""
    lengths = data.lengths[rows]
    firsts = np.repeat(data.offsets[rows] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return firsts + np.arange(lengths.sum()), np.repeat(rows, lengths)
