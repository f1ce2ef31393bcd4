"""Writer: a model on a target that goes on from a text, token by token; and the searches for what it writes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from palmtop.data.encoding import Encoding
from palmtop.errors import UserError
from palmtop.generation import Generation
from palmtop.target import Runner


@dataclass(frozen=True)
class Said:
    """What a model says after some tokens."""

    logits: Float32[ndarray, " vocabulary"]
    """Of the token that comes next."""
    state: Any
    """The runtime's own: keys and values of the tokens so far. Nothing changes it, so that several continuations may go
    on from one."""


class Writer(Runner, ABC):
    """A runner whose model writes. `predict` scores given texts (palmtop.task_kinds.causal_lm)."""

    longest: int
    """Tokens of a prompt and its continuation together, at most."""

    @abstractmethod
    def prompt(self, text: str) -> list[int]:
        """A prompt's tokens, all of them."""

    @abstractmethod
    def begin(self, ids: Sequence[int]) -> Said:
        """Read a prompt of at least one token."""

    @abstractmethod
    def step(self, said: Said, token: int) -> Said:
        """Read one token more."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Tokens as text, without special ones."""

    @abstractmethod
    def written_ms(self, encodings: Sequence[Encoding], length: int, tokens: int, runs: int) -> list[list[float]]:
        """Milliseconds of each token of `runs` greedy continuations of so many tokens, of prompts that are repeated or
        cut to `length` tokens; the first token's are those of reading the prompt."""


def room_for_prompt(writer: Writer, settings: Generation) -> int:
    """Tokens of a prompt that are read, its last ones: a continuation has at least half of all room, or as much as it
    may take."""
    return writer.longest - min(settings.max_new_tokens, writer.longest // 2)


def write(writer: Writer, prompt: Sequence[int], settings: Generation) -> Iterator[int]:
    """The tokens of a continuation, the ending one left out: one by one as they come, of a beam search all at its end.

    Raises:
        UserError: the prompt has no token, and nothing stands for one.
    """
    ids = list(prompt)[-room_for_prompt(writer, settings) :]
    if not ids and settings.end_id is None:
        raise UserError("the prompt is empty: give some words to go on from")
    ids = ids or [settings.end_id or 0]  # the end of one text is where another begins
    most = min(settings.max_new_tokens, writer.longest - len(ids))
    if settings.search == "beam":
        yield from _beam(writer, ids, most, settings)
        return
    random, said = np.random.default_rng(settings.seed), writer.begin(ids)
    for place in range(most):
        logits = _allowed(said.logits, ids, settings.no_repeat_ngram)
        token = int(logits.argmax()) if settings.search == "greedy" else _drawn(logits, settings, random)
        if token == settings.end_id:
            return
        yield token
        ids.append(token)
        if place + 1 < most:
            said = writer.step(said, token)


def kept_for_sampling(logits: Float[ndarray, " vocabulary"], settings: Generation) -> Float[ndarray, " vocabulary"]:
    """The probabilities that a token is drawn by: softmax of logits over the temperature, of the k most probable, then
    of the fewest whose sum reaches p (Holtzman et al. 2020, 1904.09751, section 3.1), scaled to 1 each time."""
    scaled = logits.astype(np.float64) / settings.temperature
    order = np.argsort(-scaled, kind="stable")
    if settings.top_k is not None:
        scaled[order[settings.top_k :]] = -np.inf
    shares = np.exp(log_softmax(scaled))
    if settings.top_p is not None:
        before = np.cumsum(shares[order]) - shares[order]
        shares[order[before >= settings.top_p]] = 0.0
    kept: Float[ndarray, " vocabulary"] = shares / shares.sum()
    return kept


def log_softmax(logits: Float[ndarray, "... vocabulary"]) -> Float[ndarray, "... vocabulary"]:
    """Log-probabilities, in float64."""
    high = logits.astype(np.float64)
    high = high - high.max(axis=-1, keepdims=True)
    made: Float[ndarray, "... vocabulary"] = high - np.log(np.exp(high).sum(axis=-1, keepdims=True))
    return made


def repeating(ids: Sequence[int], size: int) -> set[int]:
    """Tokens that would end a run of `size` tokens which came before."""
    if not size or len(ids) < size:
        return set()
    last = tuple(ids[len(ids) - size + 1 :])
    starts = range(len(ids) - size + 1)
    return {ids[start + size - 1] for start in starts if tuple(ids[start : start + size - 1]) == last}


def _allowed(logits: Float32[ndarray, " vocabulary"], ids: Sequence[int], size: int) -> Float32[ndarray, " vocabulary"]:
    banned = repeating(ids, size)
    if not banned:
        return logits
    made = logits.copy()
    made[list(banned)] = -np.inf
    return made


def _drawn(logits: Float32[ndarray, " vocabulary"], settings: Generation, random: np.random.Generator) -> int:
    shares = kept_for_sampling(logits, settings)
    return int(random.choice(len(shares), p=shares))


@dataclass(frozen=True)
class _Beam:
    """A continuation that is followed."""

    tokens: tuple[int, ...]
    score: float
    """Sum of the log-probabilities of its tokens."""
    said: Said


def _beam(writer: Writer, ids: list[int], most: int, settings: Generation) -> list[int]:
    """The best continuation by log-probability over tokens^length_penalty, the ending token counted, as transformers'
    `generate` has it."""
    beams, ended = [_Beam((), 0.0, writer.begin(ids))], list[tuple[float, tuple[int, ...]]]()
    for place in range(1, most + 1):
        live: list[tuple[float, int, _Beam]] = []
        for score, token, beam in _best(beams, ids, settings):
            if token == settings.end_id:
                ended.append((score / place**settings.length_penalty, beam.tokens))
            else:
                live.append((score, token, beam))
        live = live[: settings.beams]
        ended = sorted(ended, key=lambda one: -one[0])[: settings.beams]
        reachable = max((score for score, _, _ in live), default=-np.inf) / place**settings.length_penalty
        if not live or (len(ended) == settings.beams and ended[-1][0] >= reachable):
            break
        last = place == most
        beams = [
            _Beam((*beam.tokens, token), score, beam.said if last else writer.step(beam.said, token))
            for score, token, beam in live
        ]
    else:
        ended += [(beam.score / most**settings.length_penalty, beam.tokens) for beam in beams]
    return list(max(ended, key=lambda one: one[0])[1])


def _best(beams: Sequence[_Beam], ids: list[int], settings: Generation) -> list[tuple[float, int, _Beam]]:
    """Twice as many as there are beams of their likeliest next tokens, so that enough are left where some end."""
    found = []
    for beam in beams:
        logits = _allowed(beam.said.logits, [*ids, *beam.tokens], settings.no_repeat_ngram)
        scores = log_softmax(logits) + beam.score
        for token in np.argsort(-scores, kind="stable")[: 2 * settings.beams]:
            found.append((float(scores[token]), int(token), beam))
    return sorted(found, key=lambda one: -one[0])[: 2 * settings.beams]
