"""A model that writes on this machine: what its runtime gives, token by token or for a whole text, made one runner."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import task_kinds
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.eval.targets._host import times_ms
from palmtop.signature import Signature
from palmtop.task_kinds.causal_lm import SCORES, UNSCORED
from palmtop.writer import Said, Writer, log_softmax

Logits = Float32[ndarray, " vocabulary"]


class Steps(ABC):
    """A file's graphs in a runtime."""

    @abstractmethod
    def read(self, ids: Sequence[int], state: Any) -> tuple[Logits, Any]:
        """Read tokens behind those of a state (None: no token yet), which stays as it is; the logits behind the
        last."""

    def following(self, ids: Sequence[int]) -> Iterator[Logits]:
        """The logits behind each token of a text but its last: one by one, by the graphs that write."""
        state = None
        for token in ids[:-1]:
            logits, state = self.read([token], state)
            yield logits


class HostWriter(Writer):
    """A model that writes, on this machine's processor: one text at a time."""

    def __init__(self, folder: Path, signature: Signature, steps: Steps) -> None:
        self._tokenizer = HostTokenizer.of(folder, signature)
        self._kind = task_kinds.by_output(signature.output)
        self._steps: Steps | None = steps
        self.longest = signature.max_length

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode with the Hugging Face tokenizer."""
        return self._tokenizer.encode(texts)

    def prompt(self, text: str) -> list[int]:
        """A prompt's tokens, all of them."""
        return self._tokenizer.plain(text)

    def decode(self, ids: Sequence[int]) -> str:
        """With the Hugging Face tokenizer."""
        return self._tokenizer.decode(ids)

    def begin(self, ids: Sequence[int]) -> Said:
        """Read a prompt."""
        return Said(*self._open.read(ids, None))

    def step(self, said: Said, token: int) -> Said:
        """Read one token more."""
        return Said(*self._open.read([token], said.state))

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts 3 tokens"]:
        """The scores of each text's tokens (palmtop.task_kinds.causal_lm)."""
        return self._kind.joined([self._scores(encoding.input_ids.tolist()) for encoding in encodings], encodings)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time to the first token: of prompts of `length` tokens, or of their own."""
        prompts = [self._of_length(one, length or len(one)) for one in encodings[:runs]]
        return times_ms(self.begin, prompts, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Time the Hugging Face tokenizer on single texts."""
        return times_ms(lambda text: self._tokenizer.encode([text]), texts, runs)

    def written_ms(self, encodings: Sequence[Encoding], length: int, tokens: int, runs: int) -> list[list[float]]:
        """Greedy continuations, whatever ends them."""
        return [self._timed(self._of_length(encodings[run % len(encodings)], length), tokens) for run in range(runs)]

    def close(self) -> None:
        """Let the runtime go."""
        self._steps = None

    @property
    def _open(self) -> Steps:
        if self._steps is None:
            raise ValueError("this runner was closed")
        return self._steps

    def _scores(self, ids: list[int]) -> Float32[ndarray, "3 tokens"]:
        made = np.full((SCORES, len(ids)), UNSCORED, np.float32)
        made[2] = ids
        for place, logits in enumerate(self._open.following(ids), 1):
            made[0, place], made[1, place] = log_softmax(logits)[ids[place]], logits.argmax()
        return made

    def _of_length(self, encoding: Encoding, length: int) -> list[int]:
        ids: list[int] = encoding.input_ids.tolist()
        return (ids * -(-length // len(ids)))[:length]

    def _timed(self, prompt: list[int], tokens: int) -> list[float]:
        times, said, token = list[float](), None, 0
        for _ in range(tokens):
            started = time.perf_counter_ns()
            said = self.begin(prompt) if said is None else self.step(said, token)
            token = int(said.logits.argmax())
            times.append((time.perf_counter_ns() - started) / 1e6)
        return times
