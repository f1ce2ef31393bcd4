"""DeBERTa's terms of relative positions (version 1), written for a graph: its own code makes a tensor of the length and
cuts its table by that number, which a graph of any length can't."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from jaxtyping import Float, Int
from torch import Tensor

from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def cut_by_sizes(model: "PreTrainedModel") -> None:
    """Let every layer cut its table of relative positions by the sizes of its inputs, in place."""
    for layer in layers_of(model):
        attention: Any = layer.get_submodule("attention.self")
        attention.disentangled_att_bias = partial(_terms, attention)


def _terms(
    attention: Any,
    query: Float[Tensor, "batch heads tokens size"],
    key: Float[Tensor, "batch heads tokens size"],
    distance: Int[Tensor, "1 tokens tokens"],
    table: Float[Tensor, "twice_farthest width"],
    terms: int,
) -> Float[Tensor, "batch heads tokens tokens"]:
    """What is added to the scores: content to position and position to content (He et al. 2020, 2006.03654, eq. 4).

    Rows of the table that no two tokens of a text are apart are left out where the number of tokens is known.

    Args:
        query: divided by its scale already.
        distance: places of queries minus those of keys.
        terms: how many terms scores are the sum of.
    """
    farthest, tokens = int(attention.max_relative_positions), query.shape[-2]
    span = tokens if isinstance(tokens, int) and tokens < farthest else farthest
    rows = table[farthest - span : farthest + span][None]
    total: Any = 0
    if "c2p" in attention.pos_att_type:
        keys = attention.transpose_for_scores(attention.pos_proj(rows))
        total = total + _picked(query @ keys.transpose(-1, -2), distance + span, span)
    if "p2c" in attention.pos_att_type:
        queries = attention.transpose_for_scores(attention.pos_q_proj(rows)) / math.sqrt(query.shape[-1] * terms)
        total = total + _picked(key @ queries.transpose(-1, -2), span - distance, span).transpose(-1, -2)
    result: Tensor = total
    return result


def _picked(
    scores: Float[Tensor, "batch heads tokens rows"], row: Int[Tensor, "1 tokens tokens"], span: int
) -> Float[Tensor, "batch heads tokens tokens"]:
    """Of each token's scores with all rows those with the rows that its distances to the others mean."""
    tokens = row.shape[-1]
    index = row.clamp(0, 2 * span - 1)[:, None].expand(*scores.shape[:2], tokens, tokens)
    return scores.gather(-1, index)
