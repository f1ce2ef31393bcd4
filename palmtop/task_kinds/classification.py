"""Classification: one of several labels for a text or a pair of texts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import SHOWN, Table, have
from palmtop.errors import UserError, clipped
from palmtop.metrics import Score, confusion, macro_f1, matthews, mcnemar, proportion
from palmtop.signature import Signature
from palmtop.task_kinds import label_doubts
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.kind import Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.label_words import (
    are_amounts,
    as_known,
    checked,
    is_blank,
    is_written_list,
    refuse_other_kinds,
    refuse_several_in_one,
    spelled_otherwise,
)
from palmtop.task_kinds.losses import soft_loss

if TYPE_CHECKING:
    from torch import Generator, Tensor

UNLABELLED = -1
"""The class number that Hugging Face data sets give to rows without a label, as the public test splits of GLUE are."""

TELLING = 10
"""Fewer rows may each have a label of their own by chance."""

LEAST_PROBABILITY = 1e-12
"""What is less counts as this much where probabilities are compared: a runtime may end it in 0."""


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


class Classification(TaskKind):
    """One of several labels."""

    name: ClassVar[str] = "classification"
    phone: ClassVar[bool] = True
    react_native: ClassVar[bool] = True
    ranks: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "matthews")
    architecture: ClassVar[str] = "ForSequenceClassification"
    learns_unlabelled: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "single_label_classification"
    has_labels: ClassVar[bool] = True
    one_label: ClassVar[bool] = True
    probabilities: ClassVar[str | None] = "probabilities"
    refuses: ClassVar[Mapping[str, str]] = {"cut_embedding": "each number of its answer is a label's, none can go"}
    outputs: ClassVar[tuple[str, ...]] = ("logits", "probabilities")
    task_client: ClassVar[Any] = "classifier"
    pipeline: ClassVar[str | None] = "text-classification"

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Single words, or numbers that are no amounts."""
        single = all(isinstance(label, str | int | float) or label is None for label in labels)
        amounts = are_amounts([str(label) for label in labels if not is_blank(label)], decimals=True)
        return single and not amounts and not any(is_written_list(label) for label in labels)

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The labels: those of the task, or of the training data, sorted."""
        if task.labels is not None:
            return given_labels(task)
        table = train()
        named = table.class_names(task.label)
        if named:
            return named
        values = table.column(task.label)
        refuse_other_kinds(values, task.label, table.where)
        found = checked((str(value) for value in values if not is_blank(value)), task.label, table.where)
        refuse_several_in_one(found, task.label, table.where)
        return found

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """Class indices, int64 [rows]."""
        column = task.labels if isinstance(task.labels, dict) else None
        classes = table.class_names(task.label)
        refuse_other_kinds(values, task.label, table.where)
        without = [
            number for number, value in enumerate(values, 1) if is_blank(value) or (classes and value == UNLABELLED)
        ]
        if without:
            raise UserError(
                f"{table.where}: {have(without)} no label in column '{task.label}': remove them, or use a labelled "
                "split"
            )
        words = [
            classes[value]
            if classes and isinstance(value, int) and 0 <= value < len(classes)
            else as_known(value, column or task.label_names)
            if isinstance(value, bool)
            else str(value)
            for value in values
        ]
        named = [column.get(word, word) for word in words] if column else words
        check_known([[word] for word in named], task, table.where)
        index = {name: position for position, name in enumerate(task.label_names)}
        return np.asarray([index[word] for word in named], np.int64)

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: all training rows have the same label, or each has one of its own that nobody listed."""
        super().check_learnable(task, labels, where)
        if task.labels is None and len(labels) >= TELLING and len(np.unique(labels)) == len(labels):
            raise UserError(
                f"{where}: each of the {len(labels)} rows has a label of its own in column '{task.label}': there is "
                "nothing to learn; name the column of the labels, or set kind: regression (palmtop init --kind "
                "regression) if these are numbers to predict"
            )

    def doubts(self, task: Definition, labels: Mapping[str, Labels]) -> list[str]:
        """Words for no value, numbers, a label for nearly each row, and labels that no training row has."""
        train, names = labels["train"], task.label_names
        told = label_doubts.doubts(names, task.label, train, listed=task.labels is not None)
        if task.main_metric == "accuracy":
            told += label_doubts.unbalanced(names, train)
        for split, other in labels.items():
            told += label_doubts.unlearnt(names, set(train.tolist()), [{place} for place in other.tolist()], split)
        return told

    def strata(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """The labels themselves."""
        return labels

    def _only(self, task: Definition, labels: Labels) -> str:
        return f"one label only ('{task.label_names[int(labels[0])]}')"

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Cross-entropy of logits [batch, labels]."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, labels, reduction="none")

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """T^2 times the KL divergence of the softened distributions (Hinton et al. 2015)."""
        return soft_loss(outputs, taught, temperature)

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Cross-entropy with a label drawn from the softmax."""
        import torch

        drawn = torch.multinomial(outputs.detach().softmax(-1), 1, generator=generator)[:, 0]
        return torch.nn.functional.cross_entropy(outputs, drawn, reduction="none")

    def as_probabilities(self, logits: "Tensor") -> "Tensor":
        """Softmax over the labels."""
        return logits.softmax(-1)

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """The most likely class."""
        classes: Num[ndarray, "texts ..."] = graded.argmax(axis=1)
        return classes

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """accuracy, macro_f1, matthews."""
        if metric == "accuracy":
            return float((looked == labels).mean())
        of = {"macro_f1": macro_f1, "matthews": matthews}[metric]
        return of(confusion(looked, labels, outputs))

    def by_text(
        self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels
    ) -> Float[ndarray, " texts"] | None:
        """Whether it is right, for accuracy."""
        return (looked == labels).astype(np.float64) if metric == "accuracy" else None

    def score(self, metric: str, graded: Float[ndarray, "texts marks"], labels: Labels) -> Score:
        """Wilson's interval for accuracy, the bootstrap's for the others."""
        if metric == "accuracy":
            return proportion(int((graded.argmax(axis=1) == labels).sum()), len(labels))
        return super().score(metric, graded, labels)

    def constant(self, metric: str, labels: Labels, outputs: int) -> Score | None:
        """Of accuracy the share of the most frequent label; Matthews' correlation isn't defined for one answer."""
        alone = np.full(len(labels), np.bincount(labels).argmax())
        value = self.value(metric, alone, labels, outputs)
        if np.isnan(value):
            return Score(None, n=len(labels), why=f"undefined: {self.undefined(metric)}")
        return Score(value, n=len(labels))

    def undefined(self, metric: str) -> str:
        """All answers, or all labels, are alike."""
        return {
            "macro_f1": "no answer and no label is of any class",
            "matthews": "all answers, or all labels, are the same",
        }[metric]

    def paired_tests(
        self, graded: Float[ndarray, "texts marks"], other: Float[ndarray, "texts marks"], labels: Labels
    ) -> dict[str, Score]:
        """McNemar's."""
        p = mcnemar(graded.argmax(axis=1), other.argmax(axis=1), labels)
        return {"mcnemar_p": Score(p, "probability", n=len(labels))}

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The share of equal labels."""
        return proportion(int((answers.argmax(axis=1) == other.argmax(axis=1)).sum()), len(answers))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """Differences as a share of the spread of the expected outputs; of probabilities, of their logarithms.

        A confident model's probabilities are nearly all 0, so their spread is tiny, and where it doubts, a logit that
        is off by a tenth of its own spread moves a probability by several of theirs. Their logarithms are the logits
        but for one number a text, so a tolerance means the same for both.
        """
        as_they_are = output == "logits"
        given, answered = (expected, found) if as_they_are else (_logarithms(expected), _logarithms(found))
        agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
        return plain_differences(given, answered, agreement)

    def made_probabilities(self, outputs: Float32[ndarray, "texts ..."]) -> Float32[ndarray, "texts ..."]:
        """Softmax over the labels."""
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        shares: Float32[ndarray, "texts ..."] = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def given(self, answers: Float32[ndarray, "texts labels"]) -> Bool[ndarray, "texts labels"]:
        """The label of the largest output."""
        likeliest: Bool[ndarray, "texts labels"] = np.arange(answers.shape[1]) == answers.argmax(axis=1)[:, None]
        return likeliest

    def likelihoods(
        self, answers: Float32[ndarray, "texts labels"], signature: Signature | None
    ) -> Float[ndarray, "texts labels"]:
        """The softmax of logits, or the file's own probabilities."""
        probable = signature is not None and signature.output == self.probabilities
        return answers.astype(np.float64) if probable else self.made_probabilities(answers.astype(np.float64))

    def sureness(self, outputs: Float32[ndarray, "texts labels"]) -> Float[ndarray, " texts"] | None:
        """The probability of the most probable label."""
        found: Float[ndarray, " texts"] = self.made_probabilities(outputs).max(axis=1)
        return found

    def claims(
        self, shares: Float[ndarray, "texts labels"], labels: Labels
    ) -> tuple[Float[ndarray, " claims"], Bool[ndarray, " claims"]]:
        """One a text: its most probable label."""
        return shares.max(axis=1), shares.argmax(axis=1) == labels

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `Label` each."""
        probable = signature is not None and signature.output == self.probabilities
        shares = outputs.astype(np.float64) if probable else self.made_probabilities(outputs.astype(np.float64))
        return [
            ranked(encoding.truncated, output, row, label_names)
            for encoding, output, row in zip(encodings, outputs, shares, strict=True)
        ]

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """The label of the largest output."""
        return [label_names[place] for place in outputs.argmax(axis=1)]


def ranked(truncated: bool, outputs: ndarray, shares: ndarray, label_names: Sequence[str]) -> Label:
    """The labels of a text by their probabilities, the most probable first."""
    found = {label_names[place]: float(shares[place]) for place in np.argsort(-outputs, kind="stable")}
    label, probability = next(iter(found.items()))
    return Label(truncated=truncated, label=label, probability=probability, probabilities=found)


def given_labels(task: Definition) -> tuple[str, ...]:
    """The labels that a task lists, in their order."""
    return tuple(dict.fromkeys(task.labels.values() if isinstance(task.labels, dict) else task.labels or ()))


def check_known(named: Sequence[Sequence[str]], task: Definition, where: str) -> None:
    """Raises: UserError: rows whose labels aren't all among the task's, by number."""
    known = task.label_names
    index = set(known)
    unknown = [number for number, words in enumerate(named, 1) if not index.issuperset(words)]
    if unknown:
        odd = sorted({word for number in unknown for word in named[number - 1]} - index)[:5]
        raise UserError(
            f"{where}: {have(unknown)} a label unknown to the task: {', '.join(map(clipped, odd))} in column "
            f"'{task.label}'; the task knows {len(known)}: "
            f"{', '.join(known[:SHOWN])}{', ...' if len(known) > SHOWN else ''}"
            + (
                f"; {clipped(odd[0])} is spelled {clipped(meant)} there"
                if (meant := spelled_otherwise(odd[0], known))
                else ""
            )
        )


def plain_differences(
    expected: Float32[ndarray, "texts outputs"], found: Float32[ndarray, "texts outputs"], agreement: float
) -> Differences:
    """Absolute differences, divided by the standard deviation of the expected outputs over texts."""
    spread = float(expected.std(axis=0).mean()) or 1.0
    distance = np.abs(expected - found)
    typical = float(np.sqrt((distance**2).mean())) / spread
    return Differences(distance.max(axis=1).astype(np.float64) / spread, typical, agreement)


def _logarithms(probabilities: Float32[ndarray, "texts outputs"]) -> Float32[ndarray, "texts outputs"]:
    logarithms: Float32[ndarray, "texts outputs"] = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return logarithms  # a NaN stays one
