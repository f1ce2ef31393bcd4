"""A teacher beside a student that is another bundle: it reads the texts with its own tokenizer, inputs and length, and
what it says is given to the student's rows and tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from palmtop.bundle import Bundle
from palmtop.compress.distillation.alignment import Alignment, places_of
from palmtop.compress.distillation.guards import reads_alike
from palmtop.compress.learning.encoded import Encoded
from palmtop.signature import Signature
from palmtop.task import Split

if TYPE_CHECKING:
    from torch import Tensor

    from palmtop.compress.distillation.keep_or_recompute import Asked

HEARD = "teacher_mask"
"""In a batch: of which of the student's tokens the teacher says something, [batch, tokens]."""


@dataclass(frozen=True)
class Readings:
    """The same texts as a student and its teacher read them."""

    ours: Encoded
    theirs: Encoded
    alike: bool
    """Whether both have the same tokenizer; they may cut texts at other lengths."""
    alignment: Alignment | None
    """None where both read the same tokens of every text."""
    share: float
    """Of the student's tokens that stand for characters, how many the teacher's cover."""

    @classmethod
    def of(cls, split: Split, student: Bundle, signature: Signature, teacher: Bundle) -> Self:
        """Read a split twice: the student as `signature` says, the teacher as its own does."""
        ours, theirs = Encoded.of(split, student.path, signature), Encoded.of(split, teacher.path, teacher.signature)
        alike = reads_alike(teacher.path, student.path)
        if alike and np.array_equal(ours.ids, theirs.ids) and np.array_equal(ours.offsets, theirs.offsets):
            return cls(ours, theirs, alike, None, 1.0)
        places = places_of(student.path, signature, ours.kind, split.texts)
        found = Alignment.of(ours, places, theirs, places_of(teacher.path, teacher.signature, theirs.kind, split.texts))
        return cls(ours, theirs, alike, found, found.share(places))

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        read = {"teacher_truncated": self.theirs.truncated}
        return read if self.alignment is None else read | {"tokens_aligned": round(self.share, 4)}


@dataclass(frozen=True)
class Across:
    """What a teacher says of its own tokens, said of a student's; it is asked as `Asked` is."""

    asked: "Asked"
    readings: Readings

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """`teacher_logits` and `teacher_hidden_<i>` for the student's rows; where tokens differ, HEARD too."""
        return self._given(rows, self.asked.batch(rows))

    def only(self, hidden: Sequence[int]) -> "Callable[[Sequence[int]], dict[str, Tensor]]":
        """Signals without the hidden states of other layers."""
        inner = self.asked.only(hidden)
        return lambda rows: self._given(rows, inner(rows))

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return self.asked.facts() | self.readings.facts()

    def _given(self, rows: Sequence[int], said: "dict[str, Tensor]") -> "dict[str, Tensor]":
        ours = self.readings.ours
        by_token = [name for name in said if name.startswith("teacher_hidden_") or ours.kind.per_token]
        sequences = ours.sequences(rows)
        length = ours.length or int(np.diff(ours.offsets)[sequences].max())
        if self.readings.alignment is None:
            return said | {name: _padded(said[name], length) for name in by_token}
        return said | self._aligned(sequences, length, {name: said[name] for name in by_token})

    def _aligned(self, sequences: Sequence[int], length: int, said: "dict[str, Tensor]") -> "dict[str, Tensor]":
        import torch

        alignment = self.readings.alignment
        assert alignment is not None  # the caller looked
        theirs = self.readings.theirs
        longest = theirs.length or int(np.diff(theirs.offsets)[sequences].max())
        shares = torch.from_numpy(alignment.matrices(sequences, length, longest))
        heard = {HEARD: (shares.sum(-1) > 0).long()}
        return heard | {name: shares @ values.float() for name, values in said.items()}


def _padded(values: "Tensor", length: int) -> "Tensor":
    """[batch, tokens, width] with so many tokens: more, of zeros, or without padding."""
    from torch.nn.functional import pad

    return pad(values, (0, 0, 0, length - values.shape[1]))
