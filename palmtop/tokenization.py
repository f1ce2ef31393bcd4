"""Texts to token ids on the host, from the tokenizer.json that every bundle carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32
from numpy import ndarray

from palmtop.errors import UserError

FILE = "tokenizer.json"

Text = tuple[str, ...]
"""What is classified: one text, or a pair."""


@dataclass(frozen=True)
class Encoding:
    """One text as a model takes it: unpadded, special tokens in, truncated to the model's length."""

    text: Text
    input_ids: Int32[ndarray, " tokens"]
    token_type_ids: Int32[ndarray, " tokens"]
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.input_ids)


class HostTokenizer:
    """The Hugging Face tokenizer of a bundle, without padding, truncating at `max_length`."""

    def __init__(self, folder: Path, max_length: int) -> None:
        from tokenizers import Tokenizer  # the measuring side's dependency; the vocabulary loads without it

        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: a bundle carries its tokenizer; adopt the model again")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_length)

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts or pairs, in order."""
        rows = self._tokenizer.encode_batch([text[0] if len(text) == 1 else text for text in texts])
        return [Encoding(text, np.asarray(row.ids, np.int32), np.asarray(row.type_ids, np.int32), bool(row.overflowing))
                for text, row in zip(texts, rows, strict=True)]


def pad(encodings: Sequence[Encoding], length: int, pad_id: int) -> dict[str, Int32[ndarray, "batch tokens"]]:
    """One batch, padded on the right to `length` tokens: input_ids, attention_mask (1 = real) and token_type_ids."""
    shape = (len(encodings), length)
    batch = {"input_ids": np.full(shape, pad_id, np.int32), "attention_mask": np.zeros(shape, np.int32),
             "token_type_ids": np.zeros(shape, np.int32)}
    for row, encoding in enumerate(encodings):
        tokens = min(len(encoding), length)
        batch["input_ids"][row, :tokens] = encoding.input_ids[:tokens]
        batch["attention_mask"][row, :tokens] = 1
        batch["token_type_ids"][row, :tokens] = encoding.token_type_ids[:tokens]
    return batch
