"""Reformer's forward pass in a form that can be traced: texts of one chunk, a finite mask, a softmax."""

import math
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.models.reformer.modeling_reformer import AttentionOutput, ReformerModelOutput

from palmtop.export.graph.edge import hidden
from palmtop.models.reformer import keep_both_streams

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ITSELF = -1e3
"""A token's score with itself where queries are keys: it looks at itself only if there is no other. exp(-1e3) is 0 in
float32, and padding's scores are lower still."""
NORM_EPSILON = 1e-6
"""transformers' own, of a key's length."""


def within_a_chunk(model: "PreTrainedModel") -> None:
    """Change a classifier in place; it answers as before."""
    keep_both_streams(model)
    body: Any = model.base_model
    body.forward = MethodType(_forward, body)
    for layer in body.encoder.layers:
        layer.attention.forward = MethodType(_attention, layer.attention)


def _forward(body: Any, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> ReformerModelOutput:
    """The last hidden states of both streams, [batch, tokens, 2 * width]."""
    states = body.embeddings(input_ids=input_ids)
    made = body.encoder(hidden_states=states, attention_mask=attention_mask)
    return ReformerModelOutput(last_hidden_state=made.hidden_states)


def _attention(attention: Any, hidden_states: Tensor, attention_mask: Tensor, **_: Any) -> AttentionOutput:
    """What a layer adds to its first stream, [batch, tokens, width]."""
    core, states = attention.self_attention, attention.layer_norm(hidden_states)
    parts = dict(core.named_children())
    shared = "query_key" in parts
    query = _split(core, parts["query_key" if shared else "query"], states)
    if shared:  # computed once: a scale folded into one of two would store the matrix twice
        key = query * torch.rsqrt((query * query).mean(-1, keepdim=True) + NORM_EPSILON)
    else:
        key = _split(core, parts["key"], states)
    value = _split(core, parts["value"], states)
    scores = query @ key.transpose(-1, -2) / math.sqrt(core.attention_head_size)
    if shared:
        same = _same(attention_mask)
        scores = scores * (1.0 - same) + same * ITSELF
    context = ((scores + hidden(attention_mask)).softmax(-1) @ value).transpose(1, 2)
    made = attention.output(context.reshape(*context.shape[:2], -1))
    return AttentionOutput(hidden_states=made, attention_probs=(), buckets=None)


def _split(core: Any, linear: Any, states: Tensor) -> Tensor:
    """[batch, tokens, width] -> [batch, heads, tokens, width of a head]."""
    made: Tensor = linear(states)
    return made.view(*made.shape[:-1], core.num_attention_heads, core.attention_head_size).transpose(1, 2)


def _same(attention_mask: Tensor) -> Tensor:
    """1 where two tokens are one, [batch, 1, tokens, tokens]; of padding, whatever."""
    places = attention_mask.to(torch.float32).cumsum(1)
    return 1.0 - (places[:, None, :, None] - places[:, None, None, :]).abs().clamp(0.0, 1.0)
