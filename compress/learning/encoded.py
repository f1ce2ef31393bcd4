"""A split as token ids: ragged arrays, and batches padded only as far as needed."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from jaxtyping import Bool, Int, Int32, Num
from numpy import ndarray

from palmtop import task_kinds
from palmtop.data.tokenization import HostTokenizer
from palmtop.signature import Signature
from palmtop.task import Split
from palmtop.task_kinds.kind import IGNORED, TaskKind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """Rows of a split, tokenized once. Sequence s's tokens are `ids[offsets[s]:offsets[s + 1]]`; a row is one sequence,
    or `each` of them one after the other."""

    ids: Int32[ndarray, " tokens"]
    types: Int32[ndarray, " tokens"]
    offsets: Int[ndarray, " sequences_plus_one"]
    labels: Num[ndarray, "rows_or_tokens ..."]
    """As the kind of the task gives them to a loss: [rows]; first and last token of an answer, [rows, 2]; or one for
    each token, [tokens]."""
    inputs: tuple[str, ...]
    """Which of input_ids, attention_mask, token_type_ids the model takes."""
    pad_id: int
    truncated: int
    """How many rows were cut to the longest length."""
    left_out: int | None = None
    """How many rows of the split aren't among them, because nothing of their labels was left when they were cut; None
    where that can't be."""
    output: str = "logits"
    """What the signature of the model says of its outputs."""
    length: int | None = None
    """Tokens that every batch is padded to, where padding changes the model's answers; None: to its longest row."""
    each: int = 1
    """How many sequences a row has: 2 where each text of a pair is encoded by itself."""
    labelled: Bool[ndarray, " rows"] | None = None
    """Which rows have labels, where not all have; of the others a teacher's answers alone are learnt."""
    tries: Int[ndarray, " rows"] | None = None
    """Where it is to be chosen how many texts are made of each: a row is learnt from if more are chosen than this; -1
    of the task's own rows."""
    besides: Mapping[str, Any] = field(default_factory=dict)
    """What a bundle's card is to say of the rows without labels."""

    def __len__(self) -> int:
        return (len(self.offsets) - 1) // self.each

    @property
    def kind(self) -> TaskKind:
        """The kind of task by which the model's outputs are read."""
        return task_kinds.by_output(self.output)

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        facts: dict[str, Any] = {"rows": len(self), "truncated": self.truncated}
        facts |= {"answers_cut_off": self.left_out} if self.left_out is not None else {}
        facts |= {"rows_labelled": int(self.labelled.sum())} if self.labelled is not None else {}
        return facts | dict(self.besides)

    @property
    def lengths(self) -> Int[ndarray, " rows"]:
        """Tokens of each row, specials included; of its longest sequence where it has several."""
        longest: Int[ndarray, " rows"] = np.diff(self.offsets).reshape(-1, self.each).max(axis=1)
        return longest

    def sequences(self, rows: Sequence[int]) -> list[int]:
        """The sequences of some rows, in their order."""
        return sequences_of(rows, self.each)

    @property
    def digest(self) -> str:
        """sha256 of all token ids and types: what a teacher's answers depend on."""
        given = str(self.inputs) if self.length is None else str((self.inputs, self.length))
        hashed = hashlib.sha256(given.encode())
        for array in (self.ids, self.types, self.offsets):
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    @classmethod
    def of(cls, split: Split, folder: Path, signature: Signature) -> Self:
        """Tokenize a split with the tokenizer of the bundle in `folder`.

        Raises:
            UserError: nothing that can be learnt from was left when the texts were cut.
        """
        kind = task_kinds.by_output(signature.output)
        rows, labels = kind.trained(HostTokenizer.of(folder, signature).encode(split.texts), split.labels)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(
            np.concatenate([row.input_ids for row in rows]),
            np.concatenate([row.token_type_ids for row in rows]),
            offsets,
            labels,
            signature.inputs,
            signature.pad_id,
            sum(row.truncated for row in rows),
            len(split) - sum(row.part == 0 for row in rows) if kind.cut_rows_are_left_out else None,
            signature.output,
            signature.only_length,
            1 + max(row.part for row in rows) if kind.apart else 1,
        )

    def label_batch(self, rows: Sequence[int]) -> "Tensor":
        """The labels of some rows, [batch, ...]; of tokens, [batch, tokens], padded with IGNORED."""
        import torch

        if not self.kind.labels_per_token:
            return torch.from_numpy(self.labels[list(rows)])
        return torch.from_numpy(padded(self.labels, self.offsets, rows, IGNORED, self.length))

    def labels_of(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """The labels of some rows, and `labelled` [batch], 1 for each that has one, where not all have."""
        import torch

        made = {"labels": self.label_batch(rows)}
        if self.labelled is None:
            return made
        return made | {"labelled": torch.from_numpy(self.labelled[list(rows)].astype(np.float32))}

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """The model's inputs for some rows, each [batch, tokens] int64, padded to the longest of them, or to `length`;
        of rows with several sequences [batch x sequences, tokens], a row's one after the other. The mask is there even
        where the model takes none: losses read it."""
        import torch

        chosen = self.sequences(rows)
        ids, types = (
            padded(values, self.offsets, chosen, filler, self.length)
            for values, filler in ((self.ids, self.pad_id), (self.types, 0))
        )
        real = np.arange(ids.shape[1]) < np.diff(self.offsets)[chosen][:, None]
        made = {
            name: torch.from_numpy(values.astype(np.int64))
            for name, values in (("input_ids", ids), ("attention_mask", real), ("token_type_ids", types))
        }
        return {name: made[name] for name in made if name in (*self.inputs, "attention_mask")}


def sequences_of(rows: Sequence[int], each: int) -> list[int]:
    """The sequences of some rows that have so many each."""
    return [int(row) * each + part for row in rows for part in range(each)]


def padded(
    values: Num[ndarray, "tokens ..."],
    offsets: Int[ndarray, " rows_plus_one"],
    rows: Sequence[int],
    filler: float,
    length: int | None = None,
) -> Num[ndarray, "batch longest ..."]:
    """What lies along the tokens of all rows, for some rows: each padded on the right to `length`, by default to the
    longest of them."""
    spans = [(int(offsets[row]), int(offsets[row + 1])) for row in rows]
    longest = length or max(end - start for start, end in spans)
    made = np.full((len(spans), longest, *values.shape[1:]), filler, values.dtype)
    for place, (start, end) in enumerate(spans):
        made[place, : end - start] = values[start:end]
    return made


def take(data: Encoded, rows: Sequence[int]) -> Encoded:
    """Some of the rows, in this order."""
    spans = [(int(data.offsets[one]), int(data.offsets[one + 1])) for one in data.sequences(rows)]
    tokens = np.concatenate([np.arange(start, end) for start, end in spans])
    offsets = np.concatenate([[0], np.cumsum([end - start for start, end in spans])]).astype(np.int64)
    return replace(
        data,
        ids=data.ids[tokens],
        types=data.types[tokens],
        offsets=offsets,
        labels=data.labels[list(rows)],
        labelled=None if data.labelled is None else data.labelled[list(rows)],
        tries=None if data.tries is None else data.tries[list(rows)],
    )
