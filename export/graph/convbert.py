"""ConvBERT's attention written with shifts: its own takes windows of the text apart (im2col) and convolves each channel
alone, which not every format has."""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def convolve_by_shifts(model: "PreTrainedModel") -> None:
    """Let every layer sum up shifted texts, in place."""
    for layer in layers_of(model):
        attention: Any = layer.get_submodule("attention.self")
        attention.forward = partial(_mixed, attention)


def _mixed(
    attention: Any, hidden: Float[Tensor, "batch tokens width"], mask: Tensor | None = None, **_: Any
) -> tuple[Float[Tensor, "batch tokens width"], Tensor]:
    """Heads of attention beside heads of convolution, as many of each, and the attentions (Jiang et al. 2020,
    2008.02496, sections 3.1 and 3.2).

    Args:
        mask: is added to scores.
    """
    heads = (*hidden.shape[:2], attention.num_attention_heads, -1)
    query, key, value = (part(hidden) for part in (attention.query, attention.key, attention.value))
    q, k, v = (part.view(heads).transpose(1, 2) for part in (query, key, value))
    scores = q @ k.transpose(-1, -2) / math.sqrt(attention.attention_head_size)
    attentions = (scores if mask is None else scores + mask).softmax(-1)
    attended = (attentions @ v).transpose(1, 2)
    spans = _separable(attention.key_conv_attn_layer, hidden) * query
    kernels = attention.conv_kernel_layer(spans).view(heads).softmax(-1)
    shifted = _shifted(attention.conv_out_layer(hidden), attention.conv_kernel_size)
    convolved = _summed([part.view(heads) * kernels[..., place, None] for place, part in enumerate(shifted)])
    return torch.cat([attended, convolved], dim=2).reshape(*hidden.shape[:2], -1), attentions


def _separable(
    layer: Any, hidden: Float[Tensor, "batch tokens width"]
) -> Float[Tensor, "batch tokens heads_times_size"]:
    """Each channel convolved alone, then all mixed token by token."""
    weight = layer.depthwise.weight[:, 0]
    shifted = _shifted(hidden, weight.shape[1])
    alone = _summed([part * weight[:, place] for place, part in enumerate(shifted)])
    return functional.linear(alone, layer.pointwise.weight[:, :, 0], layer.bias[:, 0])


def _shifted(values: Float[Tensor, "batch tokens width"], size: int) -> list[Float[Tensor, "batch tokens width"]]:
    """For each place of a kernel the token that it reads; zeros before the first and behind the last."""
    tokens = values.shape[1]
    padded = functional.pad(values, (0, 0, size // 2, size // 2))
    return [padded[:, place : place + tokens] for place in range(size)]


def _summed(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
