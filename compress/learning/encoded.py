"""A split as token ids: ragged arrays, and batches padded only as far as needed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Int, Int32, Num
from numpy import ndarray

from palmtop.data.tokenization import Encoding, HostTokenizer
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task import Split
from palmtop.task_kinds.spans import token_labels

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Rows of a split, tokenized once. Row r's tokens are `ids[offsets[r]:offsets[r + 1]]`."""

    ids: Int32[ndarray, " tokens"]
    types: Int32[ndarray, " tokens"]
    offsets: Int[ndarray, " rows_plus_one"]
    labels: Num[ndarray, "rows ..."]
    """[rows]; of questions on a context the first and last token of the answer, [rows, 2]."""
    inputs: tuple[str, ...]
    """Which of input_ids, attention_mask, token_type_ids the model takes."""
    pad_id: int
    truncated: int
    """How many rows were cut to the longest length."""
    left_out: int = 0
    """How many questions aren't among the rows, because their answer was cut off."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def spans(self) -> bool:
        """Whether the rows are questions on a context, answered by spans."""
        return self.labels.ndim > 1

    def facts(self) -> dict[str, int]:
        """As a bundle's card holds it."""
        return {"rows": len(self), "truncated": self.truncated} | (
            {"answers_cut_off": self.left_out} if self.spans else {}
        )

    @property
    def lengths(self) -> Int[ndarray, " rows"]:
        """Tokens of each row, specials included."""
        return np.diff(self.offsets)

    @property
    def digest(self) -> str:
        """sha256 of all token ids and types: what a teacher's answers depend on."""
        hashed = hashlib.sha256(str(self.inputs).encode())
        for array in (self.ids, self.types, self.offsets):
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    @classmethod
    def of(cls, split: Split, folder: Path, signature: Signature) -> Self:
        """Tokenize a split with the tokenizer of the bundle in `folder`.

        Raises:
            UserError: every question's answer was cut off.
        """
        rows, labels = HostTokenizer.of(folder, signature).encode(split.texts), split.labels
        if signature.output == "spans":
            rows, labels = _with_answers(rows, token_labels(rows, labels))
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(
            np.concatenate([row.input_ids for row in rows]),
            np.concatenate([row.token_type_ids for row in rows]),
            offsets,
            labels,
            signature.inputs,
            signature.pad_id,
            sum(row.truncated for row in rows),
            len(split) - len(rows),
        )

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """The model's inputs for some rows, each [batch, tokens] int64, padded to the longest of them."""
        import torch

        longest = int(self.lengths[list(rows)].max())
        ids = torch.full((len(rows), longest), self.pad_id, dtype=torch.int64)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for place, row in enumerate(rows):
            start, end = self.offsets[row], self.offsets[row + 1]
            ids[place, : end - start] = torch.from_numpy(self.ids[start:end])
            types[place, : end - start] = torch.from_numpy(self.types[start:end])
            mask[place, : end - start] = 1
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        return {name: made[name] for name in self.inputs}


def _with_answers(
    rows: list[Encoding], labels: Int[ndarray, "rows 2"]
) -> tuple[list[Encoding], Int[ndarray, "rows 2"]]:
    """The rows whose answer wasn't cut off."""
    kept = np.flatnonzero((labels >= 0).all(axis=1))
    if not len(kept):
        raise UserError(f"all {len(rows)} answers lie behind the tokens that are read of a context: raise max_length")
    return [rows[row] for row in kept], labels[kept]


def take(data: Encoded, rows: Sequence[int]) -> Encoded:
    """Some of the rows, in this order."""
    spans = [(int(data.offsets[row]), int(data.offsets[row + 1])) for row in rows]
    tokens = np.concatenate([np.arange(start, end) for start, end in spans])
    offsets = np.concatenate([[0], np.cumsum([end - start for start, end in spans])]).astype(np.int64)
    return replace(
        data, ids=data.ids[tokens], types=data.types[tokens], offsets=offsets, labels=data.labels[list(rows)]
    )
