"""A vector for each token of a vocabulary: what a teacher makes of the token alone, reduced by PCA, weighted by how
rare it is."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.durably import write_array_durably
from palmtop.errors import UserError
from palmtop.folders import cache, fill_once
from palmtop.models.opening import open_as_named
from palmtop.progress import followed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Pooling = Literal["token", "mean"]
BATCH = 256
STATES = "states.npy"


@dataclass(frozen=True)
class Reduced:
    """Vectors of fewer numbers."""

    vectors: Float[ndarray, "tokens width"]
    variance: float
    """Share of the variance over the vocabulary that they keep."""


def states_of_tokens(teacher: Bundle, pooling: Pooling, say: Callable[[str], None]) -> Float[ndarray, "tokens hidden"]:
    """The teacher's last hidden states for each token between the special tokens of a text; from the cache if they were
    ever asked for.

    Args:
        pooling: token: the state at the token's own place; mean: of all places, those of the special tokens too.

    Raises:
        UserError: they are not finite.
    """
    key = hashlib.sha256(json.dumps([teacher.digest, pooling, 1]).encode()).hexdigest()[:32]
    folder = cache("tokens") / key
    fill_once(folder, lambda into: write_array_durably(into / STATES, _compute(teacher, pooling, say)), say)
    return np.asarray(np.load(folder / STATES), np.float32)


def reduced(states: Float[ndarray, "tokens hidden"], width: int) -> Reduced:
    """The first principal components of the states, centred (Pearson 1901), most of the variance first, [tokens,
    width].

    Each component points where its largest weight is positive, so that it is the same on every machine. The array is
    contiguous: safetensors writes others in a wrong order.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    chosen = np.argsort(-variances, kind="stable")[:width]
    basis = directions[:, chosen]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(width)])
    return Reduced(np.ascontiguousarray(centred @ basis, np.float32), float(variances[chosen].sum() / variances.sum()))


def by_counts(counts: Int[ndarray, " tokens"], sif: float) -> Float[ndarray, " tokens"]:
    """a / (a + p(w)), p a token's share of all tokens of the training texts (Arora et al. 2017, section 3): 1 for one
    that isn't there."""
    weights: Float[ndarray, " tokens"] = sif / (sif + counts / counts.sum())
    return weights


def by_rank(tokens: int, sif: float) -> Float[ndarray, " tokens"]:
    """a / (a + p(w)) with p ~ 1 / rank (Zipf), a token's id for its rank: vocabularies are mostly in the order of
    frequency."""
    inverse = 1 / np.arange(1, tokens + 1)
    weights: Float[ndarray, " tokens"] = sif / (sif + inverse / inverse.sum())
    return weights


def token_counts(data: Encoded, tokens: int) -> Int[ndarray, " tokens"]:
    """How often each token stands in the texts."""
    return np.bincount(data.ids, minlength=tokens)


def text_scale(vectors: Float[ndarray, "tokens width"], data: Encoded) -> float:
    """Root mean square of the numbers in the texts' mean vectors."""
    means = np.add.reduceat(vectors[data.ids], data.offsets[:-1], axis=0) / data.lengths[:, None]
    return float(np.sqrt((means**2).mean()))


def _compute(teacher: Bundle, pooling: Pooling, say: Callable[[str], None]) -> Float[ndarray, "tokens hidden"]:
    model = open_as_named(teacher.path, teacher.name)
    vocabulary = int(model.config.vocab_size)
    say(f"teacher's states of {vocabulary:,} tokens, each alone")
    with unchanged(model):
        states = _ask(model, teacher, pooling, vocabulary)
    if not np.isfinite(states).all():
        raise UserError("the teacher's hidden states are not finite: it is broken, or was trained until it diverged")
    return states


def _ask(
    model: "PreTrainedModel", teacher: Bundle, pooling: Pooling, vocabulary: int
) -> Float[ndarray, "tokens hidden"]:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    body: Any = model.base_model.to(device)
    first, last = _around(teacher)
    types = "token_type_ids" in teacher.signature.inputs
    states: list[Float[ndarray, "tokens hidden"]] = []
    with torch.inference_mode():
        for start in followed(range(0, vocabulary, BATCH), "tokens", "batch"):
            rows = [[*first, token, *last] for token in range(start, min(start + BATCH, vocabulary))]
            ids = torch.tensor(rows, device=device)
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            hidden = body(**given | ({"token_type_ids": torch.zeros_like(ids)} if types else {})).last_hidden_state
            states.append((hidden[:, len(first)] if pooling == "token" else hidden.mean(1)).float().cpu().numpy())
    model.cpu()
    return np.concatenate(states)


def _around(teacher: Bundle) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before a text, and those after it."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(teacher.path / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    found = tokenizer.encode("a")
    own = [place for place, special in enumerate(found.special_tokens_mask) if not special]
    return (found.ids[: own[0]], found.ids[own[-1] + 1 :]) if own else (found.ids, [])
