"""Regression: a number for a text or a pair of texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table
from palmtop.metrics import Score, pearson, ranks
from palmtop.signature import Signature
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.classification import plain_differences
from palmtop.task_kinds.kind import Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.label_words import are_amounts, is_blank, numbers

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class Number(Answer):
    """A regression's answer."""

    number: float

    head: ClassVar[Mapping[str, int]] = {"number": 12}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(f"{self.number:.5g}",)]


class Regression(TaskKind):
    """A number."""

    name: ClassVar[str] = "regression"
    phone: ClassVar[bool] = True
    react_native: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("pearson", "spearman")
    architecture: ClassVar[str] = "ForSequenceClassification"
    learns_unlabelled: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "regression"
    has_labels: ClassVar[bool] = False
    texts_have: ClassVar[str] = "a number each"
    no_probabilities: ClassVar[str] = "probabilities is for classification; a regression's answer is a number as it is"
    refuses: ClassVar[Mapping[str, str]] = {
        "tfidf": "tfidf classifies",
        "cut_embedding": "its answer is one number, no vector",
        "cascade": "a number says nothing of how sure it is: take one smaller model",
    }
    no_task_client: ClassVar[str] = "they classify, this model doesn't"
    pipeline: ClassVar[str | None] = "text-classification"

    def check_definition(self, task: Definition) -> None:
        """Raises: ValueError: it has labels."""
        if task.labels is not None:
            raise ValueError("a regression has no labels; remove 'labels'")

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Numbers of which some have decimals."""
        return are_amounts([str(label) for label in labels if not is_blank(label)], decimals=True)

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The column of the number."""
        return (task.label,)

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """Values, float32 [rows]."""
        return np.asarray(numbers(values, task.label, table.where), np.float32)

    def describe(self, task: Definition) -> str:
        """The number's name."""
        return f"a number: {task.label}"

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Squared error of the number [batch, 1]."""
        from torch.nn.functional import mse_loss

        return mse_loss(outputs.squeeze(-1), labels.float(), reduction="none")

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """Squared error of the teacher's number."""
        from torch.nn.functional import mse_loss

        return mse_loss(outputs, taught, reduction="none").mean(-1)

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Half the squared error of a number drawn with variance 1: the negative logarithm of its density."""
        import torch

        drawn = outputs.detach() + torch.randn(outputs.shape, generator=generator)
        return (outputs - drawn).square().sum(-1) / 2

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """The number, in float64."""
        return graded[:, 0].astype(np.float64)

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """pearson, spearman."""
        if metric == "spearman":
            return pearson(ranks(looked), ranks(labels))
        return pearson(looked, labels.astype(np.float64))

    def undefined(self, metric: str) -> str:
        """All answers, or all values, are alike."""
        return "all answers, or all values, are the same"

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """Pearson's r of the two."""
        return self.score("pearson", answers, other[:, 0])

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """Differences as a share of the spread of the expected numbers; there are no labels to agree on."""
        return plain_differences(expected, found, 1.0)

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `Number` each."""
        return [
            Number(truncated=encoding.truncated, number=float(output[0]))
            for encoding, output in zip(encodings, outputs, strict=True)
        ]

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """Nothing beside the number."""
        return [None] * len(outputs)
