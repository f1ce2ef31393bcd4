"""Texts to token ids on the host, from the tokenizer.json that every bundle carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64
from numpy import ndarray

from palmtop.errors import UserError
from palmtop.signature import Signature

FILE = "tokenizer.json"

Text = tuple[str, ...]
"""What is classified: one text, or a pair; or a question and its context."""
MOST_OF_QUESTION = 64
"""Tokens after which a question is cut, as in BERT's run_squad.py and in tflite-support's BertQuestionAnswerer."""
LEAST_FOR_SPANS = 16
"""Tokens that hold a question, a context and the special ones between them."""


@dataclass(frozen=True)
class Encoding:
    """One text as a model takes it: unpadded, special tokens in, truncated to the model's length."""

    text: Text
    input_ids: Int32[ndarray, " tokens"]
    token_type_ids: Int32[ndarray, " tokens"]
    truncated: bool = False
    places: Int64[ndarray, "tokens 2"] | None = None
    """Of a question and its context: the characters of the context that a token stands for, -1 for all other tokens;
    else None."""

    def __len__(self) -> int:
        return len(self.input_ids)


class HostTokenizer:
    """The Hugging Face tokenizer of a bundle, without padding, truncating at `max_length`.

    With `spans` texts are questions and contexts: only the context is truncated, unless the question fills half the
    length.
    """

    def __init__(self, folder: Path, max_length: int, spans: bool = False) -> None:
        from tokenizers import Tokenizer  # the measuring side's dependency; the vocabulary loads without it

        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: a bundle carries its tokenizer; adopt the model again")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_length)
        self._max_length, self._spans = max_length, spans
        if spans:
            check_length_for_spans(max_length)

    @classmethod
    def of(cls, folder: Path, signature: Signature) -> "HostTokenizer":
        """The tokenizer in `folder` for an artefact of this signature."""
        return cls(folder, signature.max_length, signature.output == "spans")

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode texts or pairs, in order."""
        if self._spans:
            return self._encode_spans(texts)
        rows = self._tokenizer.encode_batch([text[0] if len(text) == 1 else text for text in texts])
        return [
            Encoding(text, np.asarray(row.ids, np.int32), np.asarray(row.type_ids, np.int32), bool(row.overflowing))
            for text, row in zip(texts, rows, strict=True)
        ]

    def _encode_spans(self, texts: Sequence[Text]) -> list[Encoding]:
        questions = self._cut_questions([question for question, _ in texts])
        self._tokenizer.enable_truncation(max_length=self._max_length, strategy="only_second")
        rows = self._tokenizer.encode_batch(
            [(question, context) for question, (_, context) in zip(questions, texts, strict=True)]
        )
        return [
            Encoding(
                text,
                np.asarray(row.ids, np.int32),
                np.asarray(row.type_ids, np.int32),
                bool(row.overflowing) or question != text[0],
                _places(row),
            )
            for text, question, row in zip(texts, questions, rows, strict=True)
        ]

    def _cut_questions(self, questions: Sequence[str]) -> list[str]:
        most = min(MOST_OF_QUESTION, self._max_length // 2)
        self._tokenizer.no_truncation()
        rows = self._tokenizer.encode_batch(list(questions), add_special_tokens=False)
        return [
            question if len(row) <= most else question[: row.offsets[most - 1][1]]
            for question, row in zip(questions, rows, strict=True)
        ]


def check_length_for_spans(length: int) -> None:
    """Raises: UserError: too few tokens for a question and its context."""
    if length < LEAST_FOR_SPANS:
        raise UserError(f"{length} tokens don't hold a question and its context: give at least {LEAST_FOR_SPANS}")


def _places(row: Any) -> Int64[ndarray, "tokens 2"]:
    places = np.asarray(row.offsets, np.int64)
    places[[sequence != 1 for sequence in row.sequence_ids]] = -1
    return places


def pad(encodings: Sequence[Encoding], length: int, pad_id: int) -> dict[str, Int32[ndarray, "batch tokens"]]:
    """One batch, padded on the right to `length` tokens: input_ids, attention_mask (1 = real) and token_type_ids."""
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
