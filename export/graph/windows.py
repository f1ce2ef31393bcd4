"""Attention to a window in blocks, for texts of one length: its cost grows with the length, not with its square."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from palmtop.export.graph.edge import MASKED

AROUND = 3
"""Blocks that a token may see into: the one before its own, its own, and the one behind."""


def pays(tokens: int, window: int) -> bool:
    """Whether blocks as long as a window leave much of a text out."""
    return math.ceil(tokens / window) > AROUND + 1


def attend(query: Tensor, key: Tensor, value: Tensor, padding: Tensor, window: int, first_seen: bool) -> Tensor:
    """What tokens of one text see of `window` others to each side, and of the first where all see it.

    Args:
        query, key, value: [1, heads, tokens, size].
        padding: added to scores, [1, 1, 1, tokens].

    Returns:
        Heads side by side, [1, tokens, heads * size].
    """
    _, heads, tokens, size = query.shape
    blocks = math.ceil(tokens / window)
    rest = blocks * window - tokens
    asked = pad(query[0] / math.sqrt(size), (0, 0, 0, rest)).reshape(heads, blocks, window, size)
    keys, values = (_around(rows[0], window, blocks, first_seen) for rows in (key, value))
    added = _near(window, first_seen) + _hidden_around(padding, window, blocks, first_seen)
    scores = asked @ keys.transpose(-1, -2) + added
    context = (scores.softmax(-1) @ values).reshape(heads, blocks * window, size)[:, :tokens]
    return context.transpose(0, 1).reshape(1, tokens, heads * size)


def _around(rows: Tensor, window: int, blocks: int, first_seen: bool) -> Tensor:
    """[heads, tokens, size] -> what each block may see, [heads, blocks, 3 windows, size]; the first token behind it."""
    behind = (blocks + 1) * window - rows.shape[1]
    longer = pad(rows, (0, 0, window, behind))
    views = _views(longer, window, blocks)
    if first_seen:
        views.append(rows[:, None, :1] * torch.ones(1, blocks, 1, 1, device=rows.device))
    return torch.cat(views, dim=2)


def _hidden_around(padding: Tensor, window: int, blocks: int, first_seen: bool) -> Tensor:
    """Added to scores for what is no token, and for the first where it stands behind all, [1, blocks, 1, columns]."""
    tokens = padding.shape[-1]
    row = padding.reshape(1, tokens, 1)
    if first_seen:
        row = row + torch.where(torch.arange(tokens, device=row.device) == 0, MASKED, 0.0)[None, :, None]
    longer = pad(row, (0, 0, window, (blocks + 1) * window - tokens), value=MASKED)
    views = _views(longer, window, blocks)
    if first_seen:
        views.append(views[0][:, :, :1] * 0.0)
    return torch.cat(views, dim=2).reshape(1, blocks, 1, -1)


def _views(rows: Tensor, window: int, blocks: int) -> list[Tensor]:
    """Three times the rows, each a block further, [first axis, blocks, window, last axis]."""
    sizes = (rows.shape[0], blocks, window, rows.shape[2])
    return [rows[:, start : start + blocks * window].reshape(sizes) for start in range(0, AROUND * window, window)]


def _near(window: int, first_seen: bool) -> Tensor:
    """Added to scores of what a block holds but a token's window doesn't, [window, columns]."""
    apart = torch.arange(AROUND * window)[None, :] - window - torch.arange(window)[:, None]
    far = torch.where(apart.abs() > window, MASKED, 0.0)
    return torch.cat([far, torch.zeros(window, 1)], dim=1) if first_seen else far
