"""From scores to masks: the largest of them, gates that open by chance, and the gradients that go through."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

FLOOR = 0.005
"""Share of each matrix that a threshold leaves at least (Sanh et al. 2020, reference code's ThresholdBinarizer)."""
LEFT, RIGHT, TEMPERATURE = -0.1, 1.1, 2 / 3
"""Stretch and temperature of the hard-concrete gate (Louizos et al. 2018, 1712.01312, 4.1; l, r and b in
2005.07683)."""
GATE_START = math.log(0.9 / 0.1)
"""Score that a gate starts from."""
CLOSED = math.log(-LEFT / RIGHT)
"""Score up to which a gate that is not sampled is 0: where its stretched sigmoid is."""


def largest(values: Tensor, count: int) -> Tensor:
    """A mask of the `count` largest values, exactly so many; of equal ones the first. Any shape -> the same, bool."""
    if count >= values.numel():
        return torch.ones_like(values, dtype=torch.bool)
    if count <= 0:
        return torch.zeros_like(values, dtype=torch.bool)
    flat = values.detach().flatten()
    least = _kth_largest(flat, count)
    mask = flat > least
    equal = (flat == least).nonzero().squeeze(1)
    mask[equal[: count - int(mask.sum())]] = True
    return mask.view(values.shape)


def ranks(values: Tensor) -> Tensor:
    """The share of all values that each is larger than, in [0, 1); of equal ones the first counts as larger. Any shape
    -> the same."""
    flat = values.detach().flatten()
    found, order = torch.empty_like(flat), torch.argsort(flat, descending=True, stable=True)
    found[order] = torch.arange(flat.numel() - 1, -1, -1, dtype=flat.dtype) / flat.numel()
    return found.view(values.shape)


def largest_of_each(values: Sequence[Tensor], share: float) -> list[Tensor]:
    """The largest of each by itself: round(share * size), at least one."""
    return [largest(one, max(1, round(share * one.numel()))) for one in values]


def largest_of_all(values: Sequence[Tensor], share: float) -> list[Tensor]:
    """The largest of all together, round(share * all their sizes) of them, but not less than the floor of any.

    More than asked is kept only where the floors alone are more.
    """
    masks: list[Tensor | None] = [None] * len(values)
    left = round(share * sum(one.numel() for one in values))
    while free := [place for place, mask in enumerate(masks) if mask is None]:
        chosen = largest(torch.cat([values[place].detach().flatten() for place in free]), left)
        parts = dict(zip(free, torch.split(chosen, [values[place].numel() for place in free]), strict=True))
        short = [place for place in free if int(parts[place].sum()) < floor_of(values[place])]
        for place in short or free:
            masks[place] = (
                largest(values[place], floor_of(values[place])) if short else parts[place].view(values[place].shape)
            )
            left -= floor_of(values[place])
    return [mask for mask in masks if mask is not None]


def over(values: Sequence[Tensor], threshold: float) -> list[Tensor]:
    """Where sigmoid(value) is over a threshold; of each at least its floor of the largest."""
    least = math.log(threshold / (1 - threshold)) if threshold > 0 else -math.inf
    masks = [one.detach() > least for one in values]
    return [
        mask if int(mask.sum()) >= floor_of(one) else largest(one, floor_of(one))
        for mask, one in zip(masks, values, strict=True)
    ]


def floor_of(values: Tensor) -> int:
    """How many of a matrix' values are kept at least."""
    return math.ceil(FLOOR * values.numel())


def share_of(masks: Sequence[Tensor]) -> float:
    """Share of what some masks keep."""
    return sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def straight_through(scores: Tensor, mask: Tensor) -> Tensor:
    """The mask in the dtype of the scores; its gradient goes to the scores unchanged, kept and pruned alike.

    With W' = W * M the scores get W * dL/dW' (Sanh et al. 2020, eq. 7), W gets M * dL/dW'.
    """
    found: Tensor = _StraightThrough.apply(scores, mask)  # type: ignore[no-untyped-call]  # torch leaves it out
    return found


def sampled_gate(scores: Tensor) -> Tensor:
    """Hard-concrete gates in training: uniform noise through a stretched sigmoid, clamped to [0, 1] (1712.01312, eq.
    10)."""
    noise = torch.rand_like(scores).clamp(1e-6, 1 - 1e-6)
    gate = torch.sigmoid((noise.log() - (-noise).log1p() + scores) / TEMPERATURE)
    return (gate * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def settled_gate(scores: Tensor) -> Tensor:
    """The gates once training is over: sigmoid, stretched and clamped (1712.01312, eq. 13)."""
    return (torch.sigmoid(scores) * (RIGHT - LEFT) + LEFT).clamp(0, 1)


def open_chance(scores: Tensor) -> Tensor:
    """P(sampled gate > 0) = sigmoid(score - b log(-l / r)) (1712.01312, eq. 12)."""
    return torch.sigmoid(scores - TEMPERATURE * math.log(-LEFT / RIGHT))


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor) -> Tensor:
        return mask.to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def _kth_largest(flat: Tensor, count: int) -> Tensor:
    """A value as a tensor without dimensions."""
    place = flat.numel() - count
    if flat.device.type == "cpu":  # numpy's selection: 10 million values in 12 ms, where torch.kthvalue takes 160
        return torch.as_tensor(np.partition(flat.numpy(), place)[place])
    return torch.kthvalue(flat, place + 1).values
