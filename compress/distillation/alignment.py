"""Which of a teacher's tokens stand where a student's does, by the characters that both stand for: what another
tokenizer's teacher says of its tokens, said of the student's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float32, Int, Int64
from numpy import ndarray

from palmtop.compress.learning.encoded import Encoded
from palmtop.data.encoding import Text
from palmtop.data.special_tokens import plain_tokenizer
from palmtop.signature import Signature
from palmtop.task_kinds.kind import TaskKind

SPECIAL = -1
"""The sequence of a token that stands for no characters of a text."""
FAR = 1 << 32
"""More than the characters of a text: places of one sequence lie so far behind those of the one before it."""

Places = Int64[ndarray, "tokens 3"]
"""Of each token the text of its sequence that it stands in (0, of a pair also 1; SPECIAL), and its first character and
that behind its last."""


@dataclass(frozen=True)
class Alignment:
    """For each of a student's tokens the teacher's that share characters with it, over all sequences of a data set."""

    first: Int64[ndarray, " tokens"]
    """Place of the first of them in `covering`."""
    count: Int64[ndarray, " tokens"]
    """How many they are; 0: the teacher says nothing of this token."""
    covering: Int64[ndarray, " covering"]
    """Teacher's tokens, counted from the beginning of the data set."""
    ours: Int64[ndarray, " sequences_plus_one"]
    theirs: Int64[ndarray, " sequences_plus_one"]
    """Where each sequence begins, in the student's tokens and in the teacher's."""

    @classmethod
    def of(cls, ours: Encoded, our_places: Places, theirs: Encoded, their_places: Places) -> Self:
        """Align the same texts, tokenized twice."""
        covering = np.flatnonzero((their_places[:, 0] != SPECIAL) & (their_places[:, 2] > their_places[:, 1]))
        begins, ends = _keys(their_places, theirs.offsets)
        order = np.argsort(begins[covering], kind="stable")
        covering = covering[order]
        # ends ascend with begins: tokens of a text don't overlap but for bytes of one character, which end together
        ascending = np.maximum.accumulate(ends[covering]) if len(covering) else ends[covering]
        our_begins, our_ends = _keys(our_places, ours.offsets)
        first = np.searchsorted(ascending, our_begins, side="right")
        count = np.searchsorted(begins[covering], our_ends, side="left") - first
        stands = (our_places[:, 0] != SPECIAL) & (our_places[:, 2] > our_places[:, 1])
        made = cls(
            first.astype(np.int64),
            np.where(stands, np.maximum(count, 0), 0).astype(np.int64),
            covering.astype(np.int64),
            ours.offsets.astype(np.int64),
            theirs.offsets.astype(np.int64),
        )
        return made._with_first_tokens(our_places, their_places)

    def matrices(
        self, sequences: Sequence[int], length: int, their_length: int
    ) -> Float32[ndarray, "batch ours theirs"]:
        """For some sequences, the share of each of the teacher's tokens in each of the student's: rows add up to 1, or
        to 0 where the teacher says nothing.

        Args:
            length: tokens that the student's batch is padded to; their_length: the teacher's.
        """
        made = np.zeros((len(sequences), length, their_length), np.float32)
        for place, one in enumerate(sequences):
            start, end = self.ours[one], self.ours[one + 1]
            count, first = self.count[start:end], self.first[start:end]
            token = np.repeat(np.arange(end - start), count)
            within = np.arange(len(token)) - np.repeat(np.cumsum(count) - count, count)
            theirs = self.covering[np.repeat(first, count) + within] - self.theirs[one]
            made[place, token, theirs] = 1.0 / count[token]
        return made

    def share(self, places: Places) -> float:
        """Of the student's tokens that stand for characters, the share of which the teacher says something."""
        stands = (places[:, 0] != SPECIAL) & (places[:, 2] > places[:, 1])
        return float((self.count[stands] > 0).mean()) if stands.any() else 0.0

    def _with_first_tokens(self, our_places: Places, their_places: Places) -> Self:
        """A special token that heads read stands first in both: the student's takes the teacher's."""
        begin, other = self.ours[:-1], self.theirs[:-1]
        both = (our_places[begin, 0] == SPECIAL) & (their_places[other, 0] == SPECIAL)
        first, count = self.first.copy(), self.count.copy()
        first[begin[both]] = len(self.covering) + np.arange(int(both.sum()))
        count[begin[both]] = 1
        return type(self)(first, count, np.concatenate([self.covering, other[both]]), self.ours, self.theirs)


def places_of(folder: Path, signature: Signature, kind: TaskKind, texts: Sequence[Text]) -> Places:
    """Where the tokens of all texts stand, tokenized as a bundle's signature says; without the spaces at their
    beginning that some tokenizers count to them."""
    tokenizer = plain_tokenizer(folder)
    tokenizer.enable_truncation(max_length=signature.max_length)
    asked = [text for text, _ in kind.sequences(texts)]
    rows = tokenizer.encode_batch([text[0] if len(text) == 1 else text for text in asked])
    return np.concatenate([_row_places(row, text) for row, text in zip(rows, asked, strict=True)])


def _row_places(row: object, text: Text) -> Int64[ndarray, "tokens 3"]:
    ids, sequences, offsets = row.ids, row.sequence_ids, row.offsets  # type: ignore[attr-defined]  # untyped library
    made = np.full((len(ids), 3), SPECIAL, np.int64)
    for place, (sequence, (begin, end)) in enumerate(zip(sequences, offsets, strict=True)):
        if sequence is not None:
            piece = text[sequence][begin:end]
            made[place] = sequence, begin + len(piece) - len(piece.lstrip()), end
    return made


def _keys(
    places: Places, offsets: Int[ndarray, " sequences_plus_one"]
) -> tuple[Int64[ndarray, " tokens"], Int64[ndarray, " tokens"]]:
    """First character and that behind the last, counted so that no two sequences share any."""
    row = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    level = (2 * row + np.maximum(places[:, 0], 0)) * FAR
    return level + places[:, 1], level + places[:, 2]
