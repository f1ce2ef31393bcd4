"""What the host targets share: what loading costs, a runner around one answering function, and what is said when a
package isn't there."""

import time
from abc import ABC
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32
from numpy import ndarray

from palmtop import task_kinds
from palmtop.data.encoding import Encoding, Text, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.measuring.loading import cost_of_loading
from palmtop.measurement import Kind
from palmtop.signature import Signature
from palmtop.target import Runner, Target

Batch = dict[str, Int32[ndarray, "batch tokens"]]
Answer = Callable[[Batch], Float32[ndarray, "batch ..."]]
"""Answers a padded batch: [batch, outputs], or start and end logits, [batch, 2, tokens]."""


class HostTarget(Target, ABC):
    """A runtime on this machine's processor."""

    kind: Kind = "measured"

    @property
    def place(self) -> str:
        """This machine: all runtimes on it take turns."""
        return "host"

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """See `palmtop.eval.measuring.loading`."""
        return cost_of_loading(self.name, folder, text, threads)


class HostRunner(Runner):
    """An artefact that takes token ids. Texts are batched only with texts of like length, and only if `batch` allows
    it."""

    def __init__(self, folder: Path, signature: Signature, answer: Answer, batch: int = 1) -> None:
        self._tokenizer = HostTokenizer.of(folder, signature)
        self._inputs = [tensor.name for tensor in signature.graph().inputs]
        self._signature, self._kind = signature, task_kinds.by_output(signature.output)
        self._answer: Answer | None = answer
        self._batch = batch

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode with the Hugging Face tokenizer."""
        return self._tokenizer.encode(texts)

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        """Answer each text, shortest first, each at the shortest length the artefact accepts."""
        order = np.argsort([len(encoding) for encoding in encodings], kind="stable")
        answers: list[Float32[ndarray, ...]] = []
        for start in range(0, len(order), self._batch):
            chosen = [encodings[index] for index in order[start : start + self._batch]]
            answers += list(self._opened(self._padded(chosen, self._signature.length_for(max(map(len, chosen))))))
        rows = [answers[place] for place in np.argsort(order)]
        return self._kind.joined(rows, encodings)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time single answers; padding is done before the clock starts.

        Raises:
            UserError: the artefact doesn't accept `length` tokens or more.
        """
        lengths = [
            self._signature.length_for(len(encoding)) if length is None else self._signature.accepted(length)
            for encoding in encodings[:runs]
        ]
        batches = [self._padded([encoding], tokens) for encoding, tokens in zip(encodings, lengths, strict=False)]
        return times_ms(self._opened, batches, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Time the Hugging Face tokenizer on single texts."""
        return times_ms(lambda text: self._tokenizer.encode([text]), texts, runs)

    def close(self) -> None:
        """Let the runtime go."""
        self._answer = None

    def _opened(self, batch: Batch) -> Float32[ndarray, "batch ..."]:
        if self._answer is None:
            raise ValueError("this runner was closed")
        return self._answer(batch)

    def _padded(self, encodings: Sequence[Encoding], length: int) -> Batch:
        padded = pad(encodings, length, self._signature.pad_id)
        return {name: padded[name] for name in self._inputs}


def times_ms(call: Callable[[Any], object], items: Sequence[Any], runs: int) -> list[float]:
    """How long `runs` calls took, one by one, cycling through `items`."""
    times = []
    for number in range(runs):
        item = items[number % len(items)]
        started = time.perf_counter_ns()
        call(item)
        times.append((time.perf_counter_ns() - started) / 1e6)
    return times


def lacking(target: str, packages: dict[str, str], extra: str) -> str | None:
    """One line about packages ({import name: name on PyPI}) that aren't installed, or None."""
    gone = [package for module, package in packages.items() if find_spec(module) is None]
    return f"the target {target} needs {', '.join(gone)}: pip install 'palmtop[{extra}]'" if gone else None


def file_of(folder: Path, name: str) -> Path:
    """A file that an artefact must have.

    Raises:
        UserError: it isn't there.
    """
    if not (folder / name).is_file():
        raise UserError(f"{folder} has no {name}: export or make the bundle again")
    return folder / name
