"""Answering: what a model's outputs mean, for each kind of task, as objects with names in place of arrays."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Float32, Float64
from numpy import ndarray

from palmtop.data.tokenization import Encoding
from palmtop.errors import UserError
from palmtop.task_kinds import spans

Outputs = Float32[ndarray, "texts ..."]

PAIRED = {"question_answering": ("question", "context")}
"""What the two texts of a kind are called, where no task names their columns."""


@dataclass(frozen=True)
class Purpose:
    """What a model reads, and what its outputs mean."""

    kind: str
    """The kind of its task."""
    columns: tuple[str, ...]
    """Names of the texts that are asked at a time: one, or two of a pair or of a question and its context."""
    labels: tuple[str, ...]
    """Names of the outputs, in their order."""
    output: Literal["logits", "probabilities", "spans"]

    @property
    def ranked(self) -> bool:
        """Whether an answer ranks labels by their probabilities."""
        return self.kind == "classification"


@dataclass(frozen=True, kw_only=True)
class Answer(ABC):
    """What a model says to one text, or to one pair."""

    truncated: bool
    """The text was longer than the model reads, and its end was cut off."""

    head: ClassVar[Mapping[str, int]]
    """The columns of `lines`, and how wide they are drawn."""

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, ready for JSON."""
        given = asdict(self)
        return given | {"truncated": given.pop("truncated")}

    def best(self, top: int) -> "Answer":
        """The answer with no more than its `top` most probable labels; itself where it ranks none."""
        return self

    @abstractmethod
    def lines(self, top: int) -> list[tuple[str, ...]]:
        """The answer as lines of a table: one, or as many as labels are wanted."""


@dataclass(frozen=True, kw_only=True)
class Label(Answer):
    """A classifier's answer: the most probable label."""

    label: str
    probability: float
    """Softmax of the logits, or the file's own number where it answers probabilities."""
    probabilities: dict[str, float]
    """Of every label, the most probable first."""

    head: ClassVar[Mapping[str, int]] = {"label": 30, "probability": 11}

    def best(self, top: int) -> "Label":
        """With the probabilities of the first `top` labels only."""
        kept = dict(islice(self.probabilities.items(), top))
        return Label(truncated=self.truncated, label=self.label, probability=self.probability, probabilities=kept)

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """A line for each of the first `top` labels."""
        return [(label, f"{value:.4f}") for label, value in islice(self.probabilities.items(), top)]


@dataclass(frozen=True, kw_only=True)
class Number(Answer):
    """A regression's answer."""

    number: float

    head: ClassVar[Mapping[str, int]] = {"number": 12}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(f"{self.number:.5g}",)]


@dataclass(frozen=True, kw_only=True)
class Span(Answer):
    """The answer to a question, as it stands in the context."""

    answer: str
    begin: int
    """The first character of the answer in the context, from 0."""
    end: int
    """The character after its last: context[begin:end] is the answer."""
    score: float
    """Its probability among all spans that could have been the answer, of at most 30 tokens: the softmax of the sums
    of start and end logit. BERT's run_squad.py does the same over its 20 best."""

    head: ClassVar[Mapping[str, int]] = {"answer": 32, "characters": 11, "score": 6}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(self.answer, f"{self.begin}-{self.end}", f"{self.score:.4f}")]


def answers(purpose: Purpose, encodings: Sequence[Encoding], outputs: Outputs) -> list[Answer]:
    """What a runner's outputs say, text by text.

    Raises:
        UserError: a kind of task whose answers aren't known here, or outputs that aren't this task's, or aren't finite.
    """
    made: dict[str, Callable[[Purpose, Sequence[Encoding], Outputs], list[Answer]]] = {
        "classification": _labels,
        "regression": _numbers,
        "question_answering": _spans,
    }
    if purpose.kind not in made:
        raise UserError(
            f"what a model of {purpose.kind.replace('_', ' ')} answers can't be told yet; what can: "
            + ", ".join(kind.replace("_", " ") for kind in made)
        )
    if wrong := [row for row, output in enumerate(outputs, 1) if not np.isfinite(output).all()]:
        raise UserError(
            f"the model answers {len(wrong)} of {len(outputs)} texts (the first: number {wrong[0]}) with something "
            "that is no finite number: its weights are damaged, or its numbers overflow; make it again, in float32"
        )
    return made[purpose.kind](purpose, encodings, outputs)


def _labels(purpose: Purpose, encodings: Sequence[Encoding], outputs: Outputs) -> list[Answer]:
    _check_width(len(purpose.labels), outputs)
    probabilities = outputs.astype(np.float64) if purpose.output == "probabilities" else _softmax(outputs)
    made: list[Answer] = []
    for encoding, output, row in zip(encodings, outputs, probabilities, strict=True):
        ranked = {purpose.labels[place]: float(row[place]) for place in np.argsort(-output, kind="stable")}
        label, probability = next(iter(ranked.items()))
        made.append(
            Label(truncated=encoding.truncated, label=label, probability=probability, probabilities=ranked),
        )
    return made


def _numbers(purpose: Purpose, encodings: Sequence[Encoding], outputs: Outputs) -> list[Answer]:
    _check_width(1, outputs)
    return [
        Number(truncated=encoding.truncated, number=float(output[0]))
        for encoding, output in zip(encodings, outputs, strict=True)
    ]


def _spans(purpose: Purpose, encodings: Sequence[Encoding], outputs: Outputs) -> list[Answer]:
    places = spans.characters(outputs, encodings)
    return [
        Span(truncated=encoding.truncated, answer=words, begin=int(begin), end=int(end), score=_span_score(output))
        for encoding, words, (begin, end), output in zip(
            encodings, spans.texts_of(places, encodings), places, outputs, strict=True
        )
    ]


def _check_width(wanted: int, outputs: Outputs) -> None:
    if outputs.shape[1] != wanted:
        raise UserError(
            f"the model answers with {outputs.shape[1]} numbers where its task has {wanted}: they don't belong "
            "together; make the bundle again"
        )


def _softmax(logits: Float[ndarray, "texts outputs"]) -> Float64[ndarray, "texts outputs"]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)  # type: ignore[no-any-return]  # numpy's sum is Any


def _span_score(logits: Float32[ndarray, "2 tokens"]) -> float:
    """Softmax of the best span among all that `spans.best_tokens` considers."""
    start, end = logits.astype(np.float64)
    sums = np.concatenate([start[: len(start) - more] + end[more:] for more in range(min(spans.MOST_TOKENS, len(end)))])
    return float(1 / np.exp(sums - sums.max()).sum())
