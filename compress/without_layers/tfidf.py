"""The floor: TF-IDF and logistic regression on the task's own data, which every transformer must beat."""

import json
from typing import Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float32, Int, Int8
from numpy import ndarray
from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.data.encoding import Text
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.stage import Outline, Stage, Work
from palmtop.task import Task

WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.json"


class Tfidf(Stage):
    """TF-IDF features and multinomial logistic regression (scikit-learn), no transformer."""

    accepts: ClassVar[frozenset[Format]] = frozenset()
    produces: ClassVar[Format] = "linear"
    effect: ClassVar[Effect] = "teaches"
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn", "safetensors")

    task: str | dict[str, Any]
    """The task: a shipped name, a YAML file, or written out."""
    analyzer: Literal["word", "char_wb"] = "char_wb"
    """What is counted: words, or characters within words."""
    shortest: int = Field(default=2, ge=1)
    """Shortest n-gram."""
    longest: int = Field(default=5, ge=1)
    """Longest n-gram."""
    min_count: int = Field(default=2, ge=1)
    """Training texts that an n-gram has to occur in."""
    max_terms: int = Field(default=5000, ge=1)
    """N-grams that are kept, the most frequent: with the labels they decide the size, a byte each."""
    strength: float = Field(default=30.0, gt=0)
    """Inverse of the L2 regularisation (scikit-learn's C)."""
    seed: int = 0

    def inputs(self) -> dict[str, str]:
        """The data."""
        return {"task": Task.find(self.task).digest}

    def outline(self, source: Outline | None) -> Outline:
        """A linear model with the task's labels."""
        task = Task.find(self.task)
        return Outline("linear", labels=task.label_names, task=task.kind)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest > self.longest:
            raise ValueError(
                f"the shortest n-gram ({self.shortest}) is longer than the longest ({self.longest}); swap them"
            )
        return self

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Fit on the training split; write plain arrays and the vocabulary, no pickle."""
        from safetensors.numpy import save_file

        task = Task.find(self.task)
        train = task.load("train")
        vectorizer = self._vectorizer()
        try:
            features = vectorizer.fit_transform([joined(text) for text in train.texts])
        except ValueError as error:  # scikit-learn's way to say that no term is left
            raise UserError(
                f"tfidf: no {self.analyzer} n-gram occurs in {self.min_count} of the {len(train)} texts of "
                f"'{task.name}' ({error}): lower min_count"
            ) from None
        weights, bias = self._fit(features, train.labels, len(task.label_names))
        whole, scale = quantized(weights)
        save_file(
            {"idf": np.ascontiguousarray(vectorizer.idf_, np.float32), "weights": whole, "scale": scale, "bias": bias},
            work.out / WEIGHTS,
        )
        (work.out / VOCABULARY).write_text(
            json.dumps(
                {
                    "analyzer": self.analyzer,
                    "ngrams": [self.shortest, self.longest],
                    "terms": sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__),
                },
                ensure_ascii=False,
                separators=(",", ":"),
            ),
            encoding="utf-8",
        )
        task.write(work.out)
        return {"rows": len(train), "features": features.shape[1], "precision": "int8"}

    def _vectorizer(self) -> Any:
        """An unfitted scikit-learn vectorizer: lower-case, sublinear counts, L2 norm."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        return TfidfVectorizer(
            analyzer=self.analyzer,
            ngram_range=(self.shortest, self.longest),
            min_df=self.min_count,
            max_features=self.max_terms,
            sublinear_tf=True,
            dtype=np.float32,
            token_pattern=r"(?u)\b\w+\b" if self.analyzer == "word" else None,
        )

    def _fit(
        self,
        features: Any,
        labels: Int[ndarray, " rows"],
        classes: int,
    ) -> tuple[Float32[ndarray, "classes features"], Float32[ndarray, " classes"]]:
        """Weights and bias of every label of the task; one without training rows is never the answer."""
        if not self.learns:
            return np.ones((classes, features.shape[1]), np.float32), np.zeros(classes, np.float32)
        from sklearn.linear_model import LogisticRegression

        # scikit-learn's own tolerance stops early enough to lose two points on CLINC150
        model = LogisticRegression(C=self.strength, max_iter=5000, tol=1e-5, random_state=self.seed).fit(
            features, labels
        )
        several = len(model.classes_) > 2  # noqa: PLR2004  # of two classes scikit-learn keeps one row of weights
        weights, bias = np.zeros((classes, features.shape[1]), np.float32), np.full(classes, -1e9, np.float32)
        weights[model.classes_] = model.coef_ if several else np.vstack([-model.coef_ / 2, model.coef_ / 2])
        bias[model.classes_] = model.intercept_ if several else np.hstack([-model.intercept_ / 2, model.intercept_ / 2])
        return weights, bias


def quantized(
    weights: Float32[ndarray, "classes features"],
) -> tuple[Int8[ndarray, "classes features"], Float32[ndarray, " classes"]]:
    """Symmetric int8 with a scale a class: weights ~ int8 * scale."""
    scale = np.maximum(np.abs(weights).max(axis=1), np.finfo(np.float32).tiny) / 127
    return np.ascontiguousarray(np.round(weights / scale[:, None]), np.int8), scale.astype(np.float32)


def joined(text: Text) -> str:
    """A pair as one string, as the features see it."""
    return " [SEP] ".join(text)
