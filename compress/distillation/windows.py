"""A teacher that reads long texts in windows: what it says of a text is the mean of what it says of each, weighed by
their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.special_tokens import plain_tokenizer
from palmtop.errors import UserError
from palmtop.task import Split

if TYPE_CHECKING:
    from torch import Tensor

    from palmtop.compress.distillation.keep_or_recompute import Asked


@dataclass(frozen=True)
class Windows:
    """The windows of all texts, each a sequence of its own."""

    read: Encoded
    first: Int64[ndarray, " rows_plus_one"]
    """The first window of each text."""

    @classmethod
    def of(cls, split: Split, teacher: Bundle, overlap: int) -> Self:
        """Cut each text into windows as long as the teacher's signature allows, of which two neighbours share `overlap`
        tokens.

        Raises:
            UserError: texts that are pairs, or windows that share all their tokens.
        """
        if any(len(text) > 1 for text in split.texts):
            raise UserError("teacher_overlap is for single texts: of a pair it isn't known which text to part")
        signature, tokenizer = teacher.signature, plain_tokenizer(teacher.path)
        inside = signature.max_length - tokenizer.num_special_tokens_to_add(False)
        if overlap >= inside:
            raise UserError(
                f"teacher_overlap is {overlap}, but a window holds {inside} tokens of a text: give up to {inside - 1}"
            )
        tokenizer.enable_truncation(signature.max_length, stride=overlap)
        rows = [[row, *row.overflowing] for row in tokenizer.encode_batch([text for (text,) in split.texts])]
        windows = [window for row in rows for window in row]
        lengths = [len(window.ids) for window in windows]
        read = Encoded(
            np.concatenate([np.asarray(window.ids, np.int32) for window in windows]),
            np.concatenate([np.asarray(window.type_ids, np.int32) for window in windows]),
            np.cumsum([0, *lengths]).astype(np.int64),
            np.zeros(len(windows), np.int64),
            signature.inputs,
            signature.pad_id,
            0,
            output=signature.output,
            length=signature.only_length,
        )
        return cls(read, np.cumsum([0, *map(len, rows)]).astype(np.int64))

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        several = int((np.diff(self.first) > 1).sum())
        return {"teacher_windows": int(self.first[-1]), "texts_in_windows": several}


@dataclass(frozen=True)
class AskedByWindows:
    """A teacher's answers to whole texts."""

    asked: "Asked"
    windows: Windows

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """`teacher_logits` [batch, outputs]."""
        import torch

        ranges = [range(self.windows.first[row], self.windows.first[row + 1]) for row in rows]
        said = self.asked.batch([window for each in ranges for window in each])["teacher_logits"]
        lengths = torch.from_numpy(self.windows.read.lengths.astype(np.float32))
        parts = torch.split(said, [len(each) for each in ranges])
        means = [
            (part * lengths[list(each)][:, None]).sum(0) / lengths[list(each)].sum()
            for part, each in zip(parts, ranges, strict=True)
        ]
        return {"teacher_logits": torch.stack(means)}

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return self.asked.facts() | self.windows.facts()
