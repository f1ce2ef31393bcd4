"""The parts of a transformer layer as an exported file computes them, to be timed one by one: rows of a matrix, weights
of no meaning."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

EPSILON = 1e-12
TABLE, LABELS = 512, 16
"""Rows of the word table and labels of the head; looking up and the last product cost the same at any number near."""


@dataclass(frozen=True)
class Widths:
    """A model's full widths."""

    hidden: int
    heads: int
    head_size: int
    feed_forward: int


class Attention(nn.Module):
    """Attention of some heads with residual and norm; of `rows` tokens, all of them or the first."""

    def __init__(self, widths: Widths, heads: int, rows: int) -> None:
        super().__init__()
        inside = heads * widths.head_size
        self._heads, self._rows, self._inside = heads, rows, inside
        if heads:
            self.query, self.key, self.value = (nn.Linear(widths.hidden, inside) for _ in range(3))
            self.output = nn.Linear(inside, widths.hidden)
        self.bias, self.norm = nn.Parameter(torch.randn(widths.hidden)), _Norm(widths.hidden)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[tokens, hidden], [1, 1, 1, tokens] -> [rows, hidden]."""
        own = hidden[: self._rows]
        if not self._heads:
            result: Tensor = self.norm(own + self.bias)
            return result
        query, key, value = (
            part(given).reshape(1, len(given), self._heads, -1).permute(0, 2, 1, 3)
            for part, given in ((self.query, own), (self.key, hidden), (self.value, hidden))
        )
        weights = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", query, key) + mask, -1)
        context = torch.einsum("bhqk,bhkd->bhqd", weights, value).permute(0, 2, 1, 3).reshape(self._rows, self._inside)
        result = self.norm(self.output(context) + own)
        return result


class FeedForward(nn.Module):
    """The feed-forward part with residual and norm, of `rows` tokens."""

    def __init__(self, widths: Widths, neurons: int, rows: int) -> None:
        super().__init__()
        self._neurons, self._rows = neurons, rows
        if neurons:
            self.first, self.second = nn.Linear(widths.hidden, neurons), nn.Linear(neurons, widths.hidden)
        self.bias, self.norm = nn.Parameter(torch.randn(widths.hidden)), _Norm(widths.hidden)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[tokens, hidden] -> [rows, hidden]."""
        own = hidden[: self._rows]
        said = self.second(gelu(self.first(own))) if self._neurons else self.bias
        result: Tensor = self.norm(said + own) + mask[0, 0, 0, 0]
        return result


class Ends(nn.Module):
    """Embeddings and their norm, and the head on the first token."""

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(TABLE, widths.hidden), nn.Parameter(torch.randn(1, widths.hidden))
        self.norm, self.dense, self.labels = (
            _Norm(widths.hidden),
            nn.Linear(widths.hidden, widths.hidden),
            nn.Linear(widths.hidden, LABELS),
        )

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[tokens, hidden], [1, 1, 1, tokens] -> [1, labels]; both look up something, as ids would."""
        states = self.norm(self.words(mask.flatten().to(torch.int32).clamp(0, TABLE - 1)) + hidden + self.positions)
        result: Tensor = self.labels(torch.tanh(self.dense(states[:1])))
        return result


class _Norm(nn.Module):
    """Layer norm in the operators that the export spells it in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))

    def forward(self, hidden: Tensor) -> Tensor:
        centred = hidden - hidden.mean(-1, keepdim=True)
        return centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + EPSILON) * self.weight - self.bias
