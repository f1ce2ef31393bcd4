"""Answers to questions on a context, as data sets have them: read, checked, and kept as characters of the context."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from palmtop.data.rows import have
from palmtop.errors import UserError

ABSENT = -1
"""Begin and end of an answer that isn't there, in a row with fewer answers than another."""

Given = tuple[str, int | None]
"""An answer, and where it is said to begin; None: at its first occurrence."""


def read_spans(
    values: Sequence[Any], contexts: Sequence[str], where: str, column: str, unanswerable: bool = False
) -> Int64[ndarray, "rows answers 2"]:
    """Begin and end (the character after the last) of every answer in its row's context, each answer of a row once, the
    first first.

    Args:
        values: a text, or SQuAD's {"text": [...], "answer_start": [...]} as Hugging Face data sets have it, for each
            row.
        unanswerable: whether rows may be without an answer: all of theirs are ABSENT.

    Raises:
        UserError: rows without an answer, answers that can't be read, or that aren't in the context; told together.
    """
    given = [_given(value) for value in values]
    located = [
        [_locate(answer, context) for answer in answers or ()] for answers, context in zip(given, contexts, strict=True)
    ]
    faults = _faults(given, values, contexts, located, f"in column '{column}'")
    if not unanswerable:
        faults += _without(given, f"in column '{column}'")
    if faults:
        raise UserError([f"{where}: {fault}" for fault in faults])
    once = [list(dict.fromkeys(span for span in spans if span is not None)) for spans in located]
    made = np.full((len(once), max(1, *map(len, once)), 2), ABSENT, np.int64)
    for row, spans in enumerate(once):
        if spans:
            made[row, : len(spans)] = spans
    return made


def _given(value: Any) -> list[Given] | None:
    """The answers of a row, none of them blank; None where they can't be read."""
    if value is None or isinstance(value, str):
        return [(value, None)] if value and value.strip() else []
    texts, starts = (value.get("text"), value.get("answer_start")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
        return None
    if not all(isinstance(text, str) and isinstance(start, int) for text, start in zip(texts, starts, strict=True)):
        return None
    return [(text, start) for text, start in zip(texts, starts, strict=True) if text.strip()]


def _locate(answer: Given, context: str) -> tuple[int, int] | None:
    """Begin and end, without spaces around them; None where the answer isn't there."""
    text, start = answer
    begin = context.find(text) if start is None else start
    if begin < 0 or not context.startswith(text, begin):
        return None
    return begin + len(text) - len(text.lstrip()), begin + len(text.rstrip())


def _without(given: Sequence[list[Given] | None], place: str) -> list[str]:
    """Rows without an answer, where each has to have one."""
    without = [row for row, answers in enumerate(given, 1) if answers == []]
    if not without:
        return []
    return [
        f"{have(without)} no answer {place}: remove them, or, where questions may have none in their context "
        "(SQuAD 2.0), set options: {unanswerable: true} in the task"
    ]


def _faults(
    given: Sequence[list[Given] | None],
    values: Sequence[Any],
    contexts: Sequence[str],
    located: Sequence[Sequence[tuple[int, int] | None]],
    place: str,
) -> list[str]:
    """What is wrong, each kind of fault with its rows and the first of them."""
    faults = []
    if unread := [row for row, answers in enumerate(given, 1) if answers is None]:
        faults.append(
            f"{have(unread)} no answer that can be read {place} (the first: {values[unread[0] - 1]!r}): write a text, "
            f"or "
            '{"text": [...], "answer_start": [...]}'
        )
    lost = [
        (row, answer)
        for row, (answers, spans) in enumerate(zip(given, located, strict=True), 1)
        for answer, span in zip(answers or (), spans, strict=True)
        if span is None
    ]
    if gone := [(row, text) for row, (text, start) in lost if start is None]:
        faults.append(
            f"{have([row for row, _ in gone])} an answer {place} that isn't in the context (the first: "
            f"{gone[0][1]!r}): it must stand there letter by letter, with the same capitals and spaces"
        )
    if misplaced := [(row, text, start) for row, (text, start) in lost if start is not None]:
        row, text, start = misplaced[0]
        there = contexts[row - 1][max(start, 0) : max(start, 0) + len(text)]
        faults.append(
            f"{have(list(dict.fromkeys(one[0] for one in misplaced)))} an answer {place} that isn't where it is said "
            f"to be (the first: {text!r} at {start}, where {there!r} stands): answer_start counts the characters "
            "before the answer; mend it, or give the answer alone, as a text"
        )
    return faults
