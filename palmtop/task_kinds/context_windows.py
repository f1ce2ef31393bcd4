"""A question and its context as windows of tokens: one that is cut, or several that overlap, where a context is longer
than a model reads."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.task_kinds.spans import NOWHERE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_OF_QUESTION = 64
"""Tokens after which a question is cut, as in BERT's run_squad.py and in tflite-support's BertQuestionAnswerer."""
SPECIAL = 4
"""Special tokens beside a question and its context, at most."""
CONTEXT = 1
"""Which of the two texts."""


def check_stride(stride: int | None, tokens: int) -> None:
    """Raises: UserError: windows of so many tokens can't have `stride` of the context in common and go on."""
    most = tokens - tokens // 2 - SPECIAL - 1
    if stride is not None and stride > most:
        raise UserError(
            f"windows of {tokens} tokens can't have {stride} in common, for a question may fill half of them: give a "
            f"stride of at most {most}, or a larger max_length"
        )


def encode(
    tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int, stride: int | None, marks_nowhere: bool
) -> list[Encoding]:
    """Questions and contexts, the windows of each one after the other: only the context is cut, unless the question
    fills half the length.

    Args:
        stride: tokens that two windows have in common; None: there is one window, and the rest is cut off.
        marks_nowhere: whether the token that stands for no answer is marked.
    """
    questions = _cut_questions(tokenizer, [question for question, _ in texts], max_length)
    tokenizer.enable_truncation(max_length=max_length, stride=stride or 0, strategy="only_second")
    rows = tokenizer.encode_batch(
        [(question, context) for question, (_, context) in zip(questions, texts, strict=True)]
    )
    made = []
    for text, question, row in zip(texts, questions, rows, strict=True):
        cut = question != text[0] or (stride is None and bool(row.overflowing))
        windows = [row] if stride is None else [row, *row.overflowing]
        made += [_window(text, window, cut and not part, marks_nowhere, part) for part, window in enumerate(windows)]
    return made


def _window(text: Text, row: Any, truncated: bool, marks_nowhere: bool, part: int) -> Encoding:
    ids, types = np.asarray(row.ids, np.int32), np.asarray(row.type_ids, np.int32)
    return Encoding(text, ids, types, truncated, _places(row, marks_nowhere), part)


def _cut_questions(tokenizer: "Tokenizer", questions: Sequence[str], max_length: int) -> list[str]:
    most = min(MOST_OF_QUESTION, max_length // 2)
    tokenizer.no_truncation()
    rows = tokenizer.encode_batch(list(questions), add_special_tokens=False)
    return [
        question if len(row) <= most else question[: row.offsets[most - 1][1]]
        for question, row in zip(questions, rows, strict=True)
    ]


def _places(row: Any, marks_nowhere: bool) -> Int64[ndarray, "tokens 2"]:
    """The characters of the context that each token stands for. [CLS] is the first token, or XLNet's last."""
    places = np.asarray(row.offsets, np.int64)
    places[[sequence != CONTEXT for sequence in row.sequence_ids]] = -1
    if marks_nowhere:
        places[0 if row.sequence_ids[0] is None else len(places) - 1] = NOWHERE
    return places
