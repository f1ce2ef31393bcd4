"""The target host_mediapipe: an app's .tflite in MediaPipe's TextClassifier or TextEmbedder, which tokenize too, as the
app on a phone has it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.app_manifest import ANSWERS, LABELS, Manifest
from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.eval.targets._host import HostTarget, file_of, lacking, times_ms
from palmtop.eval.tokenizers import mediapipe
from palmtop.signature import Signature
from palmtop.target import OWN_LENGTH, Machine, Runner

MODEL = "model.tflite"
CLIENTS = ("MediaPipe TextClassifier", "MediaPipe TextEmbedder")
"""What the names of its clients in manifest.json start with."""
RUNTIME = ("mediapipe.tasks.python.text.text_classifier", "numpy")
"""Imported before the clock of `cost_of_loading` starts."""


class Target(HostTarget):
    """MediaPipe's C++ on this machine. Its Python interface has no word for threads: a model runs in one (seen in
    1.2.2, by CPU time)."""

    name: ClassVar[str] = "host_mediapipe"
    formats: ClassVar[frozenset[str]] = frozenset({"app"})
    own_tokenizer: ClassVar[bool] = True
    wordpiece_only: ClassVar[bool] = True

    def missing(self) -> str | None:
        """MediaPipe is needed, and what reads its tokenizer."""
        return lacking(self.name, {"mediapipe": "mediapipe", "ai_edge_litert": "ai-edge-litert"}, "judges")

    def machine(self) -> Machine:
        """This machine, with the version of MediaPipe."""
        return target.host_machine(("mediapipe",))

    def refuses(self, folder: Path) -> str | None:
        """MediaPipe's clients open .tflite files with metadata, of models that they can answer with."""
        found = [said for client, said in Manifest.read(folder).clients.items() if client.startswith(CLIENTS)]
        if not found:
            return "MediaPipe opens .tflite files, and there is none in this app"
        return None if ANSWERS in found else f"its manifest says of MediaPipe: {found[-1]}"

    def padded_to(self, folder: Path, length: int) -> int | Literal["own"] | None:
        """MediaPipe pads to the length of the file; one that takes any length gets each text at its own."""
        padded = super().padded_to(folder, length)
        return padded if padded is None or Signature.read(folder).lengths else OWN_LENGTH

    def threads_used(self, asked: int) -> int:
        """One, whatever is asked for."""
        return 1

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Open model.tflite.

        Raises:
            UserError: MediaPipe can't answer with it.
        """
        if reason := self.refuses(folder):
            raise UserError(f"{folder} isn't for this target: {reason}")
        return MediapipeRunner(folder)


class MediapipeRunner(Runner):
    """Answers texts: tokens, padding and the softmax's labels are MediaPipe's own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._signature = folder, Signature.read(folder)
        self._kind = task_kinds.by_output(self._signature.output)
        opener = {"classifier": _classifier, "embedder": _embedder}[self._kind.task_client or "classifier"]
        self._client, self._ask = opener(folder)

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """The ids that MediaPipe's own tokenizer gives, for comparison: `predict` goes by the texts."""
        asked = self._kind.sequences(texts)
        rows = mediapipe.tokenize(self._folder, self._signature.max_length, [text for text, _ in asked])
        return [replace(row, part=part) for row, (_, part) in zip(rows, asked, strict=True)]

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts outputs"]:
        """Probabilities of every label, or vectors."""
        return np.stack([self._answer(encoding) for encoding in encodings])

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time single answers, tokenization included; MediaPipe pads each to the length of the file, if that has one.

        Raises:
            UserError: the file doesn't hold `length` tokens.
        """
        if length is not None:
            self._signature.accepted(length)
        return times_ms(self._answer, encodings, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Nothing: tokenization is a part of the answer."""
        return []

    def close(self) -> None:
        """Let the client go."""
        self._client.close()

    def _answer(self, encoding: Encoding) -> Float32[ndarray, " outputs"]:
        return self._ask(encoding.text[0])


def _classifier(folder: Path) -> "tuple[Any, Callable[[str], Float32[ndarray, ' outputs']]]":
    """The client, and what it makes of a text: the labels' probabilities."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.text import text_classifier

    options = text_classifier.TextClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(file_of(folder, MODEL)))
    )
    client: Any = text_classifier.TextClassifier.create_from_options(options)
    labels = file_of(folder, LABELS).read_text(encoding="utf-8").splitlines()
    places = {label: place for place, label in enumerate(labels)}

    def ask(text: str) -> Float32[ndarray, " outputs"]:
        found = np.zeros(len(places), np.float32)
        for category in client.classify(text).classifications[0].categories:
            found[places[category.category_name]] = category.score
        return found

    return client, ask


def _embedder(folder: Path) -> "tuple[Any, Callable[[str], Float32[ndarray, ' outputs']]]":
    """The client, and what it makes of a text: its vector."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.text import text_embedder

    options = text_embedder.TextEmbedderOptions(base_options=BaseOptions(model_asset_path=str(file_of(folder, MODEL))))
    client: Any = text_embedder.TextEmbedder.create_from_options(options)

    def ask(text: str) -> Float32[ndarray, " outputs"]:
        return np.asarray(client.embed(text).embeddings[0].embedding, np.float32)

    return client, ask
