"""XLNet's forward pass in a form that can be traced: [batch, tokens], products as linear layers, a finite mask.

transformers' own keeps tokens first, and makes its mask of `torch.eye`, which LiteRT has no kernel for.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers.models.xlnet.modeling_xlnet import XLNetModelOutput

from palmtop.export.graph.edge import hidden

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def batch_first(model: "PreTrainedModel") -> None:
    """Change a classifier in place; it answers as before."""
    body: Any = model.base_model
    body.forward = MethodType(_forward, body)
    for layer in body.layer:
        layer.rel_attn.forward = MethodType(_attention, layer.rel_attn)
    if (reader := dict(model.named_children()).get("sequence_summary")) is not None:
        reader.summary_type = "first"  # of the one that it is handed, the text's last; TensorFlow.js counts from there


def _forward(
    body: Any, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, **_: Any
) -> XLNetModelOutput:
    """The last hidden states, [batch, tokens, width]."""
    tokens = input_ids.shape[1]
    positions = _positions(body, tokens, input_ids.device)
    apart = None
    if token_type_ids is not None:
        types = token_type_ids.to(torch.float32)
        apart = (types[:, None, :, None] - types[:, None, None, :]).abs().clamp(0.0, 1.0)
    states = body.word_embedding(input_ids)
    for layer in body.layer:
        states = layer.ff(layer.rel_attn(states, positions, hidden(attention_mask), apart))
    return XLNetModelOutput(last_hidden_state=states)


def _positions(body: Any, tokens: int, device: torch.device) -> Tensor:
    """Dai et al. 2019 (1901.02860), 3.3: sines and cosines of the distances tokens, tokens - 1, ..., 1 - tokens; [2
    tokens, width]."""
    away = tokens - torch.arange(2 * tokens, device=device).to(torch.float32)
    if body.clamp_len > 0:
        away = away.clamp(-float(body.clamp_len), float(body.clamp_len))
    steps = torch.arange(0, body.d_model, 2.0, device=device)
    angles = away[:, None] * (1 / 10000 ** (steps / body.d_model))
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _attention(core: Any, states: Tensor, positions: Tensor, padding: Tensor, apart: Tensor | None) -> Tensor:
    """Attention, its residual and its norm, [batch, tokens, width].

    Args:
        positions: [2 tokens, width].
        padding: added to scores, [batch, 1, 1, tokens].
        apart: 1 where two tokens are of two segments, [batch, 1, tokens, tokens].
    """
    heads, size = core.n_head, core.d_head
    query = linear(states, _matrix(core.q) * core.scale).view(*states.shape[:-1], heads, size)
    key, value = (
        linear(states, _matrix(weight)).view(*states.shape[:-1], heads, size).transpose(1, 2)
        for weight in (core.k, core.v)
    )
    place = linear(positions, _matrix(core.r)).view(1, -1, heads, size).transpose(1, 2)
    scores = _seen(query, core.r_w_bias, core) @ key.transpose(-1, -2)
    scores = scores + _shifted(_seen(query, core.r_r_bias, core) @ place.transpose(-1, -2))
    if apart is not None:
        same, other = (
            (_seen(query, core.r_s_bias, core) * core.seg_embed[number][None, :, None, :]).sum(-1, keepdim=True)
            for number in (0, 1)
        )
        scores = scores + same + (other - same) * apart
    context = ((scores + padding).softmax(-1) @ value).transpose(1, 2)
    made = linear(context.reshape(*context.shape[:2], -1), core.o.reshape(core.o.shape[0], -1))
    normed: Tensor = core.layer_norm(made + states)
    return normed


def _matrix(weight: Tensor) -> Tensor:
    """[width, heads, size of one] -> a linear layer's, [heads * size, width]."""
    return weight.reshape(weight.shape[0], -1).T


def _seen(query: Tensor, bias: Tensor, core: Any) -> Tensor:
    """Queries with one of the learnt biases, [batch, heads, tokens, size]; both scaled."""
    seen: Tensor = (query + bias * core.scale).transpose(1, 2)
    return seen


def _shifted(scores: Tensor) -> Tensor:
    """Dai et al. 2019, appendix B: [batch, heads, tokens, 2 tokens] by distance -> [batch, heads, tokens, tokens] by
    the other token, out[i, j] = scores[i, tokens - i + j], by views alone."""
    batch, heads, tokens, places = scores.shape
    behind = scores.reshape(batch, heads, tokens * places)[..., tokens:]
    return behind.reshape(batch, heads, tokens, places - 1)[..., :tokens]
