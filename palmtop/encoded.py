"""A split as token ids: ragged arrays, and batches padded only as far as needed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Int, Int32, Num
from numpy import ndarray

from palmtop.signature import Signature
from palmtop.task import Split
from palmtop.tokenization import HostTokenizer

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Rows of a split, tokenized once. Row r's tokens are `ids[offsets[r]:offsets[r + 1]]`."""

    ids: Int32[ndarray, " tokens"]
    types: Int32[ndarray, " tokens"]
    offsets: Int[ndarray, " rows_plus_one"]
    labels: Num[ndarray, " rows"]
    inputs: tuple[str, ...]
    """Which of input_ids, attention_mask, token_type_ids the model takes."""
    pad_id: int
    truncated: int
    """How many rows were cut to the longest length."""

    def __len__(self) -> int:
        return len(self.labels)

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
        """Tokenize a split with the tokenizer of the bundle in `folder`."""
        rows = HostTokenizer(folder, signature.max_length).encode(split.texts)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(np.concatenate([row.input_ids for row in rows]), np.concatenate([row.token_type_ids for row in rows]), offsets,
                   split.labels, signature.inputs, signature.pad_id, sum(row.truncated for row in rows))

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
