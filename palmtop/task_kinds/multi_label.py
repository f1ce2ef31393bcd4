"""Multi-label classification: any number of labels for a text, each by itself."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table, have
from palmtop.errors import UserError, clipped
from palmtop.metrics import Score, proportion
from palmtop.signature import Signature
from palmtop.task_kinds import label_doubts
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.classification import check_known, given_labels, plain_differences
from palmtop.task_kinds.kind import Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.label_words import BETWEEN, are_lists, checked, is_written_list

if TYPE_CHECKING:
    from torch import Generator, Tensor

FEWEST = 10
"""Validation texts with a label from which on it gets a threshold of its own; rarer ones share one."""
HALF = 0.5
"""The threshold where there is no validation split to choose one on."""
LARGEST_LOGIT = 30.0
"""Probabilities nearer to 0 or 1 than this logit's are compared as if they were its."""


@dataclass(frozen=True, kw_only=True)
class LabelSet(Answer):
    """Any number of labels: those whose probabilities are at least their thresholds."""

    labels: tuple[str, ...]
    """The most probable first."""
    probabilities: dict[str, float]
    """Of every label by itself, the most probable first."""

    head: ClassVar[Mapping[str, int]] = {"labels": 40, "most probable": 30}

    def best(self, top: int) -> "LabelSet":
        """With the probabilities of the first `top` labels only."""
        kept = dict(islice(self.probabilities.items(), top))
        return LabelSet(truncated=self.truncated, labels=self.labels, probabilities=kept)

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """A line for each of the first `top` labels, the answer on the first."""
        ranked = [f"{label} {value:.4f}" for label, value in islice(self.probabilities.items(), top)]
        return [(", ".join(self.labels) or "none" if not place else "", one) for place, one in enumerate(ranked)]


class MultiLabel(TaskKind):
    """Any number of labels."""

    name: ClassVar[str] = "multi_label"
    phone: ClassVar[bool] = True
    react_native: ClassVar[bool] = True
    ranks: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1")
    architecture: ClassVar[str] = "ForSequenceClassification"
    learns_unlabelled: ClassVar[bool] = True
    problem_type: ClassVar[str | None] = "multi_label_classification"
    has_labels: ClassVar[bool] = True
    texts_have: ClassVar[str] = "any number of labels"
    probabilities: ClassVar[str | None] = "label_probabilities"
    outputs: ClassVar[tuple[str, ...]] = ("label_probabilities",)
    refuses: ClassVar[Mapping[str, str]] = {
        "cut_embedding": "each number of its answer is a label's, none can go",
        "tfidf": "the linear floor gives one label a text",
        "cascade": "a text has as many confidences as labels, and the first model may be sure of some alone: take one "
        "smaller model",
    }
    no_task_client: ClassVar[str] = "they show one list of scores, and know nothing of a threshold for each label"
    pipeline: ClassVar[str | None] = "text-classification"

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Texts with lists of labels."""
        return not any(isinstance(text, list | tuple) for text in texts) and are_lists(labels)

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The labels: those of the task, or of the training data, sorted."""
        if task.labels is not None:
            return given_labels(task)
        table = train()
        words = (word for value in table.column(task.label) for word in _words(value) or ())
        return table.class_names(task.label) or checked(words, task.label, table.where)

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """1 for each label that a text has, else 0, float32 [rows, labels].

        A field is a list of labels, or a text with `|`, `;` or `,` between them; nothing, where a text has none.
        """
        classes, column = table.class_names(task.label), task.labels if isinstance(task.labels, dict) else {}
        read = [_words(value) for value in values]
        if odd := [row for row, words in enumerate(read, 1) if words is None]:
            raise UserError(
                f"{table.where}: {have(odd)} labels that can't be read in column '{task.label}' (the first: "
                f"{clipped(values[odd[0] - 1])}): write a list of labels, or a text with , between them"
            )
        named = [[column.get(word, word) for word in _names(words or (), classes)] for words in read]
        check_known(named, task, table.where)
        place = {name: position for position, name in enumerate(task.label_names)}
        made = np.zeros((len(named), len(place)), np.float32)
        for row, words in enumerate(named):
            made[row, [place[word] for word in words]] = 1
        return made

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: every text has the same labels."""
        if len(np.unique(labels, axis=0)) <= 1:
            raise UserError(
                f"{where}: all {len(labels)} rows have the same labels: there is nothing to learn; check the column "
                f"'{task.label}'"
            )

    def doubts(self, task: Definition, labels: Mapping[str, Labels]) -> list[str]:
        """Labels that no training row has."""
        places = {split: [set(np.flatnonzero(row).tolist()) for row in rows] for split, rows in labels.items()}
        learnt = {place for row in places["train"] for place in row}
        return [
            line
            for split, rows in places.items()
            for line in label_doubts.unlearnt(task.label_names, learnt, rows, split)
        ]

    def strata(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """The rarest label of each text."""
        rare = np.where(labels > 0, -labels.sum(axis=0), -np.inf)
        return np.where(labels.any(axis=1), rare.argmax(axis=1), -1)

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Binary cross-entropy of logits [batch, labels], mean over the labels."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(outputs, labels.float(), reduction="none").mean(-1)

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """T^2 times the KL divergence of each label's softened yes and no (Hinton et al. 2015), mean over the labels.

        That is the binary cross-entropy of sigmoid(z_s / T) on the teacher's sigmoid(z_t / T), less the teacher's own
        entropy, which has no gradient: zero where the logits are equal.
        """
        from torch.nn.functional import binary_cross_entropy_with_logits

        soft, ours = taught.float() / temperature, outputs.float() / temperature
        wanted = soft.sigmoid()
        ours_loss = binary_cross_entropy_with_logits(ours, wanted, reduction="none")
        least = binary_cross_entropy_with_logits(soft, wanted, reduction="none")
        return (ours_loss - least).mean(-1) * temperature**2

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Binary cross-entropy with each label drawn by its own probability."""
        import torch

        drawn = torch.bernoulli(outputs.detach().sigmoid(), generator=generator)
        return self.label_loss(outputs, drawn)

    def as_probabilities(self, logits: "Tensor") -> "Tensor":
        """Sigmoid of each label."""
        return logits.sigmoid()

    @property
    def settles(self) -> bool:
        """The thresholds."""
        return True

    def settled(
        self,
        outputs: Float32[ndarray, "texts ..."],
        labels: Labels,
        signature: Signature,
        encodings: Sequence[Encoding] = (),
    ) -> Signature:
        """A threshold for each label, where its F1 is best; labels of fewer than FEWEST texts share the one where F1
        over all labels is best (Lipton et al. 2014, 1402.1892: the best threshold is F1's own, not 1/2)."""
        shares = _sigmoid(outputs)
        common = _best_threshold(shares.ravel(), labels.ravel())
        chosen = [
            _best_threshold(share, label) if label.sum() >= FEWEST else common
            for share, label in zip(shares.T, labels.T, strict=True)
        ]
        return signature.model_copy(update={"thresholds": tuple(round(float(value), 6) for value in chosen)})

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """By how much each label's probability is above its threshold; from 0 on it is given."""
        shares = _sigmoid(outputs) if signature is None or signature.output == "logits" else outputs
        thresholds = signature.thresholds if signature and signature.thresholds else (HALF,) * outputs.shape[1]
        margins: Float32[ndarray, "texts answers"] = (shares - np.asarray(thresholds, np.float32)).astype(np.float32)
        return margins

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """Which labels are given."""
        return graded >= 0

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """micro_f1: over all labels of all texts together; macro_f1: the mean over the labels that occur among labels
        or answers."""
        right, both = (looked * labels).sum(axis=0), looked.sum(axis=0) + labels.sum(axis=0)
        if metric == "micro_f1":
            return float(2 * right.sum() / both.sum()) if both.sum() else float("nan")
        return float((2 * right[both > 0] / both[both > 0]).mean()) if both.any() else float("nan")

    def undefined(self, metric: str) -> str:
        """There is no label at all."""
        return "no text has a label, and none is given"

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The share of texts with exactly the same labels."""
        return proportion(int(((answers >= 0) == (other >= 0)).all(axis=1).sum()), len(answers))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """Differences of the logits behind the probabilities, as a share of their spread; labels from 1/2 on agree."""
        agreement = float(((expected >= HALF) == (found >= HALF)).all(axis=1).mean())
        return plain_differences(_logits(expected), _logits(found), agreement)

    def made_probabilities(self, outputs: Float32[ndarray, "texts ..."]) -> Float32[ndarray, "texts ..."]:
        """Sigmoid of each label."""
        return _sigmoid(outputs)

    def given(self, answers: Float32[ndarray, "texts labels"]) -> Bool[ndarray, "texts labels"]:
        """Those at their thresholds or above."""
        reached: Bool[ndarray, "texts labels"] = answers >= 0
        return reached

    def likelihoods(
        self, answers: Float32[ndarray, "texts labels"], signature: Signature | None
    ) -> Float[ndarray, "texts labels"]:
        """What was kept is how far each is above its threshold."""
        thresholds = signature.thresholds if signature and signature.thresholds else (HALF,) * answers.shape[1]
        return answers + np.asarray(thresholds, np.float64)

    def sureness(self, outputs: Float32[ndarray, "texts labels"]) -> Float[ndarray, " texts"] | None:
        """The probability of what is said of the label that is least sure."""
        shares = self.made_probabilities(outputs)
        found: Float[ndarray, " texts"] = np.maximum(shares, 1 - shares).min(axis=1)
        return found

    def claims(
        self, shares: Float[ndarray, "texts labels"], labels: Labels
    ) -> tuple[Float[ndarray, " claims"], Bool[ndarray, " claims"]]:
        """One for each label of each text: that the text has it."""
        return shares.ravel(), labels.ravel() > 0

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `LabelSet` each."""
        shares = _sigmoid(outputs) if signature is None or signature.output == "logits" else outputs
        given = self.answers(outputs, encodings, signature) >= 0
        made = []
        for encoding, share, yes in zip(encodings, shares, given, strict=True):
            order = np.argsort(-share, kind="stable")
            every = {label_names[place]: float(share[place]) for place in order}
            labels = tuple(label_names[place] for place in order if yes[place])
            made.append(LabelSet(truncated=encoding.truncated, labels=labels, probabilities=every))
        return made

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """The label of the largest output, by which a client sees that it reads labels and outputs in one order."""
        return [label_names[place] for place in outputs.argmax(axis=1)]


def _words(value: Any) -> list[str] | None:
    """The labels of a field, as words; None where it can't be read."""
    if value is None:
        return []
    if is_written_list(value) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        parts = next((value.split(mark) for mark in BETWEEN if mark in value), [value])
        return [part.strip() for part in parts if part.strip()]
    if isinstance(value, int | float):
        return [str(value)]
    if isinstance(value, list | tuple) and all(isinstance(item, str | int) for item in value):
        return [str(item).strip() for item in value]
    return None


def _names(words: Sequence[str], classes: tuple[str, ...] | None) -> list[str]:
    """Names of class numbers, where the data set has some."""
    if classes is None:
        return list(words)
    return [classes[int(word)] if word.isdecimal() and int(word) < len(classes) else word for word in words]


def _best_threshold(shares: Float32[ndarray, " texts"], labels: Num[ndarray, " texts"]) -> float:
    """Half-way between the two neighbouring probabilities between which F1 is largest; HALF where no label is true."""
    if not labels.any():
        return HALF
    order = np.argsort(-shares, kind="stable")
    right = np.cumsum(labels[order])
    f1 = 2 * right / (np.arange(1, len(order) + 1) + labels.sum())
    ends = np.append(shares[order][1:] < shares[order][:-1], True)  # equal probabilities are all given, or none
    best = int(np.where(ends, f1, -1.0).argmax())
    below = float(shares[order[best + 1]]) if best + 1 < len(order) else 0.0
    return (float(shares[order[best]]) + below) / 2


def _sigmoid(logits: Float32[ndarray, "..."]) -> Float32[ndarray, "..."]:
    shares: Float32[ndarray, ...] = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    return shares


def _logits(shares: Float32[ndarray, "..."]) -> Float32[ndarray, "..."]:
    wide = shares.astype(np.float64)
    with np.errstate(divide="ignore"):
        made: Float32[ndarray, ...] = np.clip(np.log(wide) - np.log1p(-wide), -LARGEST_LOGIT, LARGEST_LOGIT)
    return made
