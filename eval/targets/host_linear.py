"""The target host_linear: the floor's TF-IDF and linear model in scikit-learn and numpy on this machine's processor."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.data.encoding import Encoding, Text
from palmtop.eval.targets._host import HostTarget, file_of, lacking, times_ms
from palmtop.target import Machine, Runner

WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.json"
RUNTIME = ("sklearn.feature_extraction.text", "safetensors.numpy")
"""Imported before the clock of `cost_of_loading` starts."""
_NOTHING = np.zeros(0, np.int32)


class Target(HostTarget):
    """TF-IDF features times int8 weights. One thread, whatever is asked for: there is nothing to share out."""

    name: ClassVar[str] = "host_linear"
    formats: ClassVar[frozenset[str]] = frozenset({"linear"})

    def missing(self) -> str | None:
        """scikit-learn and safetensors are needed."""
        return lacking(self.name, {"sklearn": "scikit-learn", "safetensors": "safetensors"}, "train")

    def machine(self) -> Machine:
        """This machine, with the versions of scikit-learn and numpy."""
        return target.host_machine(("scikit-learn", "numpy"))

    def padded_to(self, folder: Path, length: int) -> None:
        """Nothing is padded: the time is the same at every length."""

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load the weights and rebuild the vectorizer."""
        return LinearRunner(folder)


class LinearRunner(Runner):
    """score_c = scale_c * (int8 weights_c . tfidf(text)) + bias_c, from a text itself: the features are part of the
    answer."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file
        from sklearn.feature_extraction.text import TfidfVectorizer

        arrays = load_file(file_of(folder, WEIGHTS))
        said = json.loads(file_of(folder, VOCABULARY).read_text(encoding="utf-8"))
        word = said["analyzer"] == "word"
        self._vectorizer = TfidfVectorizer(
            analyzer=said["analyzer"],
            ngram_range=tuple(said["ngrams"]),
            sublinear_tf=True,
            dtype=np.float32,
            token_pattern=r"(?u)\b\w+\b" if word else None,
            vocabulary={term: place for place, term in enumerate(said["terms"])},
        )
        self._vectorizer.idf_ = arrays["idf"]
        self._weights = np.ascontiguousarray(arrays["weights"].T)  # [features, classes]: a text picks a few rows of it
        self._scale, self._bias = arrays["scale"], arrays["bias"]

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """The texts themselves: there are no token ids."""
        return [Encoding(text, _NOTHING, _NOTHING) for text in texts]

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts outputs"]:
        """Scores of every class."""
        return np.stack([self._scores(encoding) for encoding in encodings])

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time single answers, features included; `length` means nothing to a model without padding."""
        return times_ms(self._scores, encodings, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Nothing: there is no tokenization apart from the answer."""
        return []

    def close(self) -> None:
        """Nothing is held."""

    def _scores(self, encoding: Encoding) -> Float32[ndarray, " outputs"]:
        features = self._vectorizer.transform([" [SEP] ".join(encoding.text)])
        picked = self._weights[features.indices].astype(np.float32)
        return (features.data @ picked * self._scale + self._bias).astype(np.float32)  # type: ignore[no-any-return]  # scikit-learn is untyped
