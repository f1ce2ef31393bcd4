"""Sentence embedding: a vector for a text, by whose cosine texts are compared; both of a pair go through one model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float, Float32, Num
from numpy import ndarray
from pydantic import Field, model_validator

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table, have
from palmtop.errors import UserError
from palmtop.metrics import Score, bootstrapped_mean, pearson, ranks
from palmtop.models.embedding_head import KEY, Head
from palmtop.settings import Settings
from palmtop.signature import Signature
from palmtop.task_kinds import embedding_losses as losses
from palmtop.task_kinds import embedding_ranks
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.classification import plain_differences
from palmtop.task_kinds.kind import Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.label_words import is_blank, numbers

if TYPE_CHECKING:
    from torch import Generator, Tensor

PAIR = 2
SHOWN = 4
"""Numbers of a vector in a line."""
MARGINS = {"contrastive": 0.5, "semi_hard": 0.2, "hardest": 0.2}
"""Margins where the task names none: of contrastive, half of a cosine distance's usual range; of triplets FaceNet's."""
NEEDS = {
    "cosine": "pairs with a rating",
    "contrastive": "pairs with 0 or 1",
    "multiple_negatives": "pairs that belong together: without a label, or with 0 or 1",
    "semi_hard": "texts with a class",
    "hardest": "texts with a class",
}
"""What a loss learns from."""
FITS = {
    "cosine": ("cosine", "contrastive"),
    "contrastive": ("contrastive",),
    "multiple_negatives": ("multiple_negatives", "contrastive"),
    "semi_hard": ("semi_hard",),
    "hardest": ("semi_hard",),
}
"""The same, by the loss that such data are learnt by where none is named."""
ROUNDING = 1e-6
"""Cosines that differ by less are equal: of texts that are."""
CORRELATIONS = ("spearman", "pearson")
RECALLS = {"recall_at_1": 1, "recall_at_10": 10}
"""Metrics by the rank up to which what is found counts."""
RETRIEVALS = ("ndcg_at_10", *RECALLS)


class Options(Settings):
    """How a text's vector is made of its tokens, and what it is learnt by."""

    pooling: Literal["mean", "cls", "max"] = "mean"
    """What a vector is made of: the mean of the tokens' last states, the first token's, or each place's largest."""
    normalize: bool = True
    """Bring the vector to length 1, in the graph of every export."""
    loss: Literal["auto", "cosine", "contrastive", "multiple_negatives", "semi_hard", "hardest"] = "auto"
    """auto: cosine of pairs with a rating, contrastive of pairs with 0 and 1, multiple_negatives of pairs without a
    label, semi_hard triplets of texts with a class."""
    margin: float | None = Field(default=None, gt=0)
    """Of contrastive (0.5 by default) and of triplets (0.2, FaceNet's)."""
    scale: float = Field(default=20.0, gt=0)
    """What multiple_negatives multiplies cosines by: one over its temperature."""
    taught: Literal["both", "embeddings", "similarities"] = "both"
    """What a student learns of its teacher: its vectors, the cosines of all pairs of a batch, or both. Where the two
    differ in width, only similarities can be."""
    widths: tuple[int, ...] = ()
    """Matryoshka (Kusupati et al. 2022): the losses count for the first so many numbers of a vector too, each width the
    same, so that vectors may be cut there."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.margin is not None and self.loss in ("cosine", "multiple_negatives"):
            raise ValueError(f"margin is for contrastive and triplets, and loss is {self.loss}: leave it out")
        if any(width < 1 for width in self.widths):
            raise ValueError(f"widths has {min(self.widths)}: give widths from 1 on")
        return self


@dataclass(frozen=True, kw_only=True)
class Similarity(Answer):
    """The answer to a pair."""

    similarity: float
    """The cosine of the two vectors, -1 to 1."""

    head: ClassVar[Mapping[str, int]] = {"similarity": 12}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(f"{self.similarity:.4f}",)]


@dataclass(frozen=True, kw_only=True)
class Vector(Answer):
    """The answer to a text alone."""

    vector: tuple[float, ...]

    head: ClassVar[Mapping[str, int]] = {"vector": 48}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line, with the first numbers."""
        shown = " ".join(f"{value:.4f}" for value in self.vector[:SHOWN])
        return [(f"{shown} ... ({len(self.vector)} numbers)",)]


@dataclass(frozen=True)
class SentenceEmbedding(TaskKind):
    """A vector."""

    chosen: Options = field(default_factory=Options)
    """What the task settles."""

    name: ClassVar[str] = "sentence_embedding"
    apart: ClassVar[bool] = True
    head_reads_mask: ClassVar[bool] = True
    label_optional: ClassVar[bool] = True
    names_outputs: ClassVar[bool] = False
    asked: ClassVar[tuple[str, ...]] = ("text", "text2")
    metrics: ClassVar[tuple[str, ...]] = (*CORRELATIONS, *RETRIEVALS)
    architecture: ClassVar[str] = "ForSentenceEmbedding"
    has_labels: ClassVar[bool] = False
    output: ClassVar[str] = "embedding"
    outputs: ClassVar[tuple[str, ...]] = ("embedding",)
    output_names: ClassVar[tuple[str, ...]] = ("sentence_embedding",)
    texts_have: ClassVar[str] = "a vector each"
    token_work: ClassVar[str] = "give a vector of it"
    lost_with_words: ClassVar[str | None] = "how alike two texts are"
    no_probabilities: ClassVar[str] = "probabilities is for classification; vectors are compared by their cosine"
    options: ClassVar[type[Settings] | None] = Options
    page: ClassVar[bool] = False
    refuses: ClassVar[Mapping[str, str]] = {
        "tfidf": "the linear floor gives a label, no vector",
        "cascade": "a vector says nothing of how sure it is, and vectors of two models can't be compared: take one "
        "smaller model",
        "share": "the ALBERT class that it makes ends in a classifier: take fewer layers with 'distill', or a narrower "
        "table with 'factorize'",
        "static": "the student that it builds ends in a head for labels: distil to fewer layers with 'distill'",
        "convolution": "the student that it builds ends in a head for labels: distil to fewer layers with 'distill'",
        "mobilebert": "the student that it builds ends in a classifier: distil to fewer layers with 'distill' or "
        "'minilm'",
        "inverted_bottleneck": "the teacher that it builds ends in a classifier: distil to fewer layers with 'distill'",
    }
    task_client: ClassVar[Any] = "embedder"
    pipeline: ClassVar[str | None] = "feature-extraction"

    # -- the task --

    def decides(self, task: Definition) -> str:
        """Spearman's correlation of rated pairs, nDCG@10 of pairs without a rating, and of classes the nearest text."""
        if len(task.columns) < PAIR:
            return "recall_at_1"
        return "spearman" if task.label else "ndcg_at_10"

    def in_config(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """Pooling and normalization: what the task names, else what the model has already."""
        named = self.chosen.model_dump(include={"pooling", "normalize"} & self.chosen.model_fields_set)
        return {KEY: Head(**(written.get(KEY) or {}) | named).written()}

    def check_definition(self, task: Definition) -> None:
        """Raises: ValueError: it has labels, or nothing that could be learnt from."""
        super().check_definition(task)
        if len(task.columns) < PAIR and not task.label:
            raise ValueError(
                "sentence_embedding learns from pairs (text: [first, second]), or from texts with a class in 'label'"
            )

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The vector."""
        return (self.output,)

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """Of pairs their ratings, float32 [rows], NaN where no row has one; of texts their class, int64 [rows], by the
        order of this split's own words."""
        blank = [row for row, value in enumerate(values, 1) if is_blank(value)]
        if len(task.columns) == PAIR and len(blank) == len(values):
            return np.full(len(values), np.nan, np.float32)
        if blank:
            raise UserError(
                f"{table.where}: {have(blank)} nothing in column '{task.label}': remove them"
                + (", or name no label, to learn from pairs alone" if len(task.columns) == PAIR else "")
            )
        if len(task.columns) < PAIR:
            return np.unique([str(value) for value in values], return_inverse=True)[1].astype(np.int64)
        return np.asarray(numbers(values, task.label, table.where, "a pair's label is a rating, or 0 or 1"), np.float32)

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: ratings are all the same, no two texts have a class in common, or the loss that is named
        doesn't learn from such data."""
        if labels.dtype.kind == "i" and not 1 < len(np.unique(labels)) < len(labels):
            raise UserError(
                f"{where}: all {len(labels)} rows have the same class, or each has one of its own, in column "
                f"'{task.label}': there are no two texts to bring together and a third to keep away"
            )
        if labels.dtype.kind == "f" and not np.isnan(labels).all() and len(np.unique(labels)) == 1:
            raise UserError(
                f"{where}: all {len(labels)} pairs have the rating {labels[0]:g}: name no label, and each text learns "
                "to find its own second text (multiple_negatives)"
            )
        loss, theirs = self.chosen.loss, _usual_loss(_brought(labels))
        if loss != "auto" and theirs not in FITS[loss]:
            raise UserError(f"{where} has {NEEDS[theirs]}, and the loss {loss} learns from {NEEDS[loss]}")

    def strata(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """The classes, or 0 and 1; other ratings are drawn from all alike."""
        return labels if _usual_loss(_brought(labels)) in ("semi_hard", "contrastive") else None

    def describe(self, task: Definition) -> str:
        """What it is for."""
        return "a vector for a text; the cosine of two says how alike their texts are"

    # -- losses --

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """Ratings brought to 0 to 1, float32; 0 and 1 as bool; classes, and pairs without a rating, as they are."""
        return encodings, _brought(labels)

    def learnt_by(self, labels: Labels) -> str | None:
        """The loss that the task names, or that goes with such data."""
        return _usual_loss(labels) if self.chosen.loss == "auto" else self.chosen.loss

    def compared_in_batch(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """The classes of triplets."""
        return labels if _usual_loss(labels) == "semi_hard" else None

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss of each row, [rows], the mean over the widths of Matryoshka.

        Args:
            outputs: [rows, width], or of pairs [2 rows, width], a pair's two one after the other.
        """
        loss = self.learnt_by(labels.detach().cpu().numpy())
        assert loss is not None  # one always goes with the data
        made = [self._loss(loss, part, labels) for part in self._cut(outputs)]
        return sum(made[1:], made[0]) / len(made)

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """`embedding_loss` and `similarity_loss` of each text, [texts]; the temperature counts for nothing.

        With Matryoshka the similarities are learnt at each width; they alone where the two differ in width.
        """
        made = [losses.similarity_loss(part, taught) for part in self._cut(outputs)]
        similarities, same = sum(made[1:], made[0]) / len(made), outputs.shape[-1] == taught.shape[-1]
        if self.chosen.taught == "similarities" or not same:
            return similarities
        vectors = losses.embedding_loss(outputs, taught)
        return vectors if self.chosen.taught == "embeddings" else vectors + similarities

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Half the squared distance from a vector drawn with variance 1: the negative logarithm of its density."""
        import torch

        drawn = outputs.detach() + torch.randn(outputs.shape, generator=generator)
        return (outputs - drawn).square().sum(-1) / 2

    def width(self, config: Any) -> int:
        """Of the vector."""
        return int(Head.of(getattr(config, KEY)).width or config.hidden_size)

    def _cut(self, vectors: "Tensor") -> "list[Tensor]":
        """The vectors, and their first numbers at each width that is less."""
        whole = vectors.shape[-1]
        return [vectors, *(vectors[..., :width] for width in self.chosen.widths if width < whole)]

    def _loss(self, loss: str, vectors: "Tensor", labels: "Tensor") -> "Tensor":
        margin = self.chosen.margin or MARGINS.get(loss, 0.0)
        if loss == "semi_hard":
            return losses.semi_hard_triplet_loss(vectors, labels, margin)
        if loss == "hardest":
            return losses.hardest_triplet_loss(vectors, labels, margin)
        first, second = vectors[0::2], vectors[1::2]
        if loss == "cosine":
            return losses.cosine_loss(first, second, labels)
        if loss == "contrastive":
            return losses.contrastive_loss(first, second, labels, margin)
        assert loss == "multiple_negatives", loss
        each = losses.multiple_negatives_loss(first, second, self.chosen.scale)
        return each if labels.is_floating_point() else each * labels

    # -- answers --

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """The vectors of each row, side by side, [rows, width] or [rows, 2 width]."""
        return outputs.reshape(sum(encoding.part == 0 for encoding in encodings), -1)

    def graded(
        self,
        answers: Float32[ndarray, "texts answers"],
        labels: Labels,
        texts: Sequence[Text],
        label_names: Sequence[str],
    ) -> Float[ndarray, "texts marks"]:
        """Of each row the cosine of its pair, the rank at which it finds what it should, and its nDCG@10, [rows, 3];
        0 where that isn't asked."""
        made = np.zeros((len(answers), self.marks(label_names)))
        if not np.isfinite(answers).all():
            return np.where(np.isfinite(answers).all(axis=1, keepdims=True), made, np.nan)
        if labels.dtype.kind == "i":
            made[:, 1:] = embedding_ranks.of_classes(answers, labels)
            return made
        first, second = np.split(answers.astype(np.float64), PAIR, axis=1)
        made[:, 0] = (embedding_ranks.unit(first) * embedding_ranks.unit(second)).sum(axis=1)
        if np.isnan(labels).all():
            made[:, 1:] = embedding_ranks.of_pairs(first, second, [text[1] for text in texts])
        return made

    def marks(self, label_names: Sequence[str]) -> int:
        """Cosine, rank, nDCG."""
        return 3

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """The cosine, or each text's part of a metric of retrieval."""
        if metric in RECALLS:
            return (graded[:, 1] <= RECALLS[metric]).astype(np.float64)
        return graded[:, 2 if metric == "ndcg_at_10" else 0].astype(np.float64)

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """spearman and pearson of the cosines and the ratings; ndcg_at_10, recall_at_1, recall_at_10 of what is found
        among all others."""
        retrieval = _is_retrieval(labels)
        if metric in RETRIEVALS:
            return float(looked.mean()) if retrieval else float("nan")
        if retrieval:
            return float("nan")
        rated = labels.astype(np.float64)
        return pearson(ranks(looked), ranks(rated)) if metric == "spearman" else pearson(looked, rated)

    def by_text(
        self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels
    ) -> Float[ndarray, " texts"] | None:
        """Its part of a metric of retrieval."""
        return looked if metric in RETRIEVALS and _is_retrieval(labels) else None

    def measured(self, labels: Labels) -> tuple[str, ...]:
        """Correlations of rated pairs; what is found otherwise."""
        return RETRIEVALS if _is_retrieval(labels) else CORRELATIONS

    def undefined(self, metric: str) -> str:
        """What such a metric needs."""
        if metric in CORRELATIONS:
            return "it needs pairs with ratings, and ratings and cosines that aren't all the same"
        return (
            "it needs pairs without a rating, each second text being what its first should find, or texts with a class"
        )

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The mean cosine of the two's vectors of a text."""
        return bootstrapped_mean(_cosines(answers, other))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """Differences as a share of the spread; the share of texts whose vector is nearer to its own expected one than
        to any other's."""
        cosines = embedding_ranks.unit(found) @ embedding_ranks.unit(expected).T
        own = np.diagonal(cosines)
        agreement = float((own >= cosines.max(axis=1) - ROUNDING).mean())
        return plain_differences(expected, found, agreement)

    # -- for people --

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `Similarity` of a pair, a `Vector` of a text alone."""
        made: list[Answer] = []
        for place, encoding in enumerate(encodings):
            if encoding.part:
                first = outputs[place - 1 : place]
                cosine = float(_cosines(first, outputs[place : place + 1])[0])
                cut = encodings[place - 1].truncated or encoding.truncated
                made[-1] = Similarity(truncated=cut, similarity=cosine)
            else:
                made.append(Vector(truncated=encoding.truncated, vector=tuple(outputs[place].tolist())))
        return made

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """Nothing beside the numbers."""
        return [None] * len(outputs)


def _brought(labels: Labels) -> Labels:
    """Labels as losses take them (`SentenceEmbedding.trained`): what they are, their type says."""
    if labels.dtype.kind != "f" or np.isnan(labels).all():
        return labels
    if np.isin(labels, (0, 1)).all():
        return labels.astype(bool)
    low, high = labels.min(), labels.max()
    brought: Labels = ((labels - low) / ((high - low) or 1)).astype(np.float32)
    return brought


def _usual_loss(labels: Labels) -> str:
    """The loss that goes with labels as `_brought` gives them."""
    if labels.dtype.kind == "i":
        return "semi_hard"
    if labels.dtype.kind == "b":
        return "contrastive"
    return "multiple_negatives" if np.isnan(labels).all() else "cosine"


def _is_retrieval(labels: Labels) -> bool:
    return labels.dtype.kind == "i" or bool(np.isnan(labels).all())


def _cosines(
    first: Float32[ndarray, "texts width"], second: Float32[ndarray, "texts width"]
) -> Float[ndarray, " texts"]:
    one, other = (embedding_ranks.unit(side.astype(np.float64)) for side in (first, second))
    cosines: Float[ndarray, " texts"] = (one * other).sum(axis=1)
    return cosines
