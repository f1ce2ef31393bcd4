"""RoFormer's rotary positions as products: its own code takes every second number, which a .tflite can only say with a
length."""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def turn_by_products(model: "PreTrainedModel") -> None:
    """Let every layer turn queries and keys by a product with a constant, in place."""
    for layer in layers_of(model):
        attention: Any = layer.get_submodule("attention.self")
        attention.apply_rotary_position_embeddings = _turned


def _turned(
    positions: Float[Tensor, "1 1 tokens size"], *states: Float[Tensor, "batch heads tokens size"]
) -> tuple[Float[Tensor, "batch heads tokens size"], ...]:
    """Queries and keys, and values where a config says so, turned by the angles of their positions (Su et al. 2021,
    2104.09864, eq. 34).

    Args:
        positions: the sines of all angles, and behind them the cosines.
    """
    sine, cosine = (torch.stack([half, half], dim=-1).flatten(-2) for half in positions.chunk(2, dim=-1))
    across = _across(positions.shape[-1])
    return tuple(state * cosine + (state @ across) * sine for state in states)


def _across(size: int) -> Float[Tensor, "size size"]:
    """What makes [-x1, x0, -x3, x2, ...] of [x0, x1, x2, x3, ...], as the right side of a product."""
    places = torch.arange(size)
    first = ((places[:, None] + 1 == places[None, :]) & (places[:, None] % 2 == 0)).float()
    return first - first.T
