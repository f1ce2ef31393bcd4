"""A text as a model takes it: token ids, unpadded, and batches of them padded to one length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an app's import is quick: numpy waits for the first text
    from jaxtyping import Int32, Int64
    from numpy import ndarray

Text = tuple[str, ...]
"""What is classified: one text, or a pair; or a question and its context."""


def plain(text: Text) -> Text:
    """A text by which it is known again: capitals and spaces don't count."""
    return tuple(" ".join(part.split()).casefold() for part in text)


@dataclass(frozen=True)
class Encoding:
    """One text as a model takes it: unpadded, special tokens in, truncated to the model's length."""

    text: Text
    input_ids: "Int32[ndarray, ' tokens']"
    token_type_ids: "Int32[ndarray, ' tokens']"
    truncated: bool = False
    places: "Int64[ndarray, 'tokens 2'] | None" = None
    """Of a question and its context: the characters of the context that a token stands for, -1 for all other tokens
    (and -2 for one that stands for no answer, where there may be none); else None."""
    part: int = 0
    """Which text of its row it is, from 0, where each text of a row is encoded by itself (`TaskKind.apart`); or which
    window of its context."""

    def __len__(self) -> int:
        return len(self.input_ids)


def pad(encodings: Sequence[Encoding], length: int, pad_id: int) -> "dict[str, Int32[ndarray, 'batch tokens']]":
    """One batch, padded on the right to `length` tokens: input_ids, attention_mask (1 = real) and token_type_ids."""
    import numpy as np

    shape = (len(encodings), length)
    batch = {
        "input_ids": np.full(shape, pad_id, np.int32),
        "attention_mask": np.zeros(shape, np.int32),
        "token_type_ids": np.zeros(shape, np.int32),
    }
    for row, encoding in enumerate(encodings):
        tokens = min(len(encoding), length)
        batch["input_ids"][row, :tokens] = encoding.input_ids[:tokens]
        batch["attention_mask"][row, :tokens] = 1
        batch["token_type_ids"][row, :tokens] = encoding.token_type_ids[:tokens]
    return batch
