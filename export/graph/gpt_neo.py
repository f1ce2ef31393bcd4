"""GPT-Neo's local layers in an exported step: their window from how far a key lies behind a token.

transformers takes it from the number of keys, as the last rows of a triangle: right for a cache that grows, and without
an error wrong for one of fixed slots, most of which are empty.
"""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch

from palmtop.export.graph.edge import MASKED

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Windows:
    """What local layers are told before each call."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.far = torch.empty(0)
        """[1, 1, tokens, keys], added to scores."""

    def see(self, distance: torch.Tensor) -> None:
        """
        Args:
            distance: int [tokens, keys], of a key behind a token.
        """
        self.far = (distance >= self._size).to(torch.float32)[None, None] * MASKED


def windows_by_distance(model: "PreTrainedModel") -> Windows:
    """Change a model in place; it answers only with an additive mask, and after its windows were told."""
    windows, body = Windows(int(model.config.window_size)), model.base_model
    layers: Any = body.h
    for block in layers:
        attention = block.attn.attention
        local = windows if attention.attention_type == "local" else None
        attention._attn = MethodType(_Attention(local), attention)
    return windows


class _Attention:
    """Scores without a scale (GPT-Neo's own), the mask, and in a local layer the window."""

    def __init__(self, windows: Windows | None) -> None:
        self._windows = windows

    def __call__(
        self,
        _: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[batch, heads, tokens, head size] and the weights."""
        scores = torch.matmul(query, key.transpose(-1, -2)) + attention_mask
        if self._windows is not None:
            scores = scores + self._windows.far
        weights = torch.nn.functional.softmax(scores, dim=-1)
        return torch.matmul(weights, value), weights
