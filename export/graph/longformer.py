"""Longformer's forward pass in a form that can be traced: over all tokens, what lies outside the window masked; at one
length in blocks.

transformers' own cuts a text into chunks by operators that no converter has, and exports to ONNX as something else
without an error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module
from transformers.models.longformer.modeling_longformer import LongformerBaseModelOutput

from palmtop.export.graph import windows
from palmtop.export.graph.edge import MASKED, hidden

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SEES_ALL = "ForSequenceClassification"
"""The classes in which the first token sees all, and is the only one that the head reads."""


@dataclass(frozen=True)
class _Sight:
    """Who sees whom, for all layers."""

    padding: Tensor
    """Added to scores, [batch, 1, 1, tokens]."""
    apart: Tensor
    """Tokens between two, [batch, 1, tokens, tokens]."""
    all_seeing: Tensor | None
    """1 for tokens that see all and are seen by all, [batch, tokens]; None: there are none."""
    only_first: bool
    """Whether the first token is the only such one."""
    in_blocks: bool
    """Whether windows are computed in blocks: of one text of a known length."""

    def outside(self, window: int) -> Tensor:
        """Added to scores of a layer whose tokens see `window` others to each side, [batch, 1, tokens, tokens]."""
        far = (self.apart - window).clamp(0.0, 1.0)
        if self.all_seeing is not None:
            far = far * (1.0 - self.all_seeing[:, None, None, :])
        return far * MASKED + self.padding


def over_all_tokens(model: "PreTrainedModel") -> None:
    """Change a classifier in place; it answers as before, at a cost that grows with the square of the length."""
    body: Any = model.base_model
    body.one_length = False
    body.only_first = type(model).__name__.endswith(SEES_ALL)
    body.forward = MethodType(_forward, body)
    for number, layer in enumerate(body.encoder.layer):
        layer.attention.forward = MethodType(_attention, layer.attention)
        layer.attention.self.head_reads_first = body.only_first and number == len(body.encoder.layer) - 1


def in_blocks(model: "PreTrainedModel") -> None:
    """Change a classifier further that is traced for one text of one length: windows cost what they hold."""
    body: Any = model.base_model
    body.one_length = True


def _forward(
    body: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    global_attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    **_: Any,
) -> LongformerBaseModelOutput:
    """The last hidden states, [batch, tokens, width]; of the first token alone where nothing else is read."""
    places = attention_mask.to(torch.float32).cumsum(1)  # from 1 on; of padding, whatever
    all_seeing = None if global_attention_mask is None else global_attention_mask.to(torch.float32)
    if body.only_first:
        all_seeing = 1.0 - (places - 1.0).clamp(0.0, 1.0)
    apart = (places[:, None, :, None] - places[:, None, None, :]).abs()
    blocks = body.one_length and (body.only_first or all_seeing is None)
    sight = _Sight(hidden(attention_mask), apart, all_seeing, body.only_first, blocks)
    states: Tensor = body.embeddings(input_ids=input_ids, token_type_ids=token_type_ids)
    for layer in body.encoder.layer:
        states = layer(states, attention_mask=sight)[0]
    return LongformerBaseModelOutput(last_hidden_state=states)


def _attention(attention: Any, hidden_states: Tensor, attention_mask: _Sight, **_: Any) -> tuple[Tensor]:
    """Attention and what follows it in a layer, up to its norm."""
    context = _context(attention.self, hidden_states, attention_mask)
    return (attention.output(context, hidden_states[:, :1] if attention.self.head_reads_first else hidden_states),)


def _context(core: Any, states: Tensor, sight: _Sight) -> Tensor:
    """What the tokens see, [batch, tokens, width]: a window each, or all."""
    if core.head_reads_first:
        return _seen_by_all(core, states[:, :1], states, sight.padding)
    split, window = _splitter(core), core.one_sided_attn_window_size
    parts = (split(core.query, states), split(core.key, states), split(core.value, states))
    if sight.in_blocks and windows.pays(states.shape[1], window):
        near = windows.attend(*parts, sight.padding, window, sight.only_first)
    else:
        near = _attend(*parts, sight.outside(window))
    if sight.all_seeing is None:
        return near
    everything = _seen_by_all(core, states[:, :1] if sight.only_first else states, states, sight.padding)
    return near + sight.all_seeing[:, :, None] * (everything - near)


def _seen_by_all(core: Any, states: Tensor, everything: Tensor, padding: Tensor) -> Tensor:
    """What tokens that see all see, by queries, keys and values of their own."""
    split = _splitter(core)
    return _attend(
        split(core.query_global, states),
        split(core.key_global, everything),
        split(core.value_global, everything),
        padding,
    )


def _splitter(core: Any) -> Callable[[Module, Tensor], Tensor]:
    def split(linear: Module, states: Tensor) -> Tensor:
        """[batch, tokens, width] -> [batch, heads, tokens, width of a head]."""
        made: Tensor = linear(states)
        return made.view(*made.shape[:-1], core.num_heads, core.head_dim).transpose(1, 2)

    return split


def _attend(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> Tensor:
    """softmax(q k / sqrt(d) + added) v, heads side by side: [batch, tokens, width]."""
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]) + added
    context = (scores.softmax(-1) @ value).transpose(1, 2)
    return context.reshape(*context.shape[:2], -1)
