"""The weights that several layers are to share: a layer's own, or the average of layers brought into one order; and
corrections to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from palmtop.compress.albert.alignment import aligned
from palmtop.models.family import family_named
from palmtop.models.layer_weights import Half, LayerWeights, names_of, read_layer
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Order = Literal["sequence", "cycle"]
Pick = Literal["middle", "first", "stepwise"]


def sets_of(layers: int, groups: int, order: Order) -> list[int]:
    """The set of weights that each layer uses: 0 0 0 1 1 1 in sequence, as ALBERT's groups are, 0 1 0 1 0 1 in a
    cycle."""
    return [layer * groups // layers if order == "sequence" else layer % groups for layer in range(layers)]


def members(sets: Sequence[int], number: int) -> list[int]:
    """The layers that use a set."""
    return [layer for layer, used in enumerate(sets) if used == number]


def picked(sets: Sequence[int], how: Pick) -> list[int]:
    """For each set, the layer whose weights it starts from.

    middle: of the set's layers, the lower one of two; stepwise: spread over all layers, the first and the last among
    them (Bae et al. 2024, 2410.20672, 2.2), which may be of another set where there are few.
    """
    count = max(sets) + 1
    if how == "stepwise":
        return [round(float(place)) for place in np.linspace(0, len(sets) - 1, count)]
    users = [members(sets, number) for number in range(count)]
    return [layers[0] if how == "first" else layers[(len(layers) - 1) // 2] for layers in users]


@dataclass(frozen=True)
class Layers:
    """The weights of all layers of a model."""

    weights: list[LayerWeights]
    heads: int
    free_heads: bool

    @classmethod
    def of(cls, model: "PreTrainedModel") -> "Layers":
        """Those of a model that is open."""
        kind = model.config.model_type
        return cls(
            [read_layer(layer, kind) for layer in layers_of(model)],
            model.config.num_attention_heads,
            not family_named(kind).heads_counted_outside,
        )

    def aligned(self, layer: int, to: LayerWeights) -> LayerWeights:
        """A layer that computes the same, in the order of another."""
        return aligned(self.weights[layer], to, self.heads, self.free_heads)

    def average(self, layers: Sequence[int]) -> LayerWeights:
        """The mean of some layers' weights, each in the order of the middle one."""
        middle = self.weights[layers[(len(layers) - 1) // 2]]
        all_of_them = [self.aligned(layer, middle) for layer in layers]
        return {name: torch.stack([weights[name] for weights in all_of_them]).mean(0) for name in middle}


def corrections(own: LayerWeights, shared: LayerWeights, part: str, rank: int) -> dict[str, Tensor]:
    """What takes the shared linear to a layer's own: the best of the rank for the weight, and the whole difference of
    the biases."""
    up, down = low_rank(own[f"{part}.weight"] - shared[f"{part}.weight"], rank)
    return {"up.weight": up, "up.bias": own[f"{part}.bias"] - shared[f"{part}.bias"], "down.weight": down}


def low_rank(residual: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The B [out, rank], A [rank, in] of the least |B A - residual|, residual [out, in]: B = U S, A = V^T of its SVD,
    cut off."""
    left, values, right = torch.linalg.svd(residual.double(), full_matrices=False)
    return (left[:, :rank] * values[:rank]).float().contiguous(), right[:rank].float().contiguous()


def distance(layers: Layers, sets: Mapping[Half, Sequence[int]], shared: Sequence[LayerWeights]) -> float:
    """sum |W_l - W'|^2 / sum |W_l|^2 over the shared halves, each layer in the order of what it is to use."""
    error, total = 0.0, 0.0
    for half, used in sets.items():
        for layer, number in enumerate(used):
            own = layers.aligned(layer, shared[number])
            error += sum(float(((own[name] - shared[number][name]) ** 2).sum()) for name in names_of(half))
            total += sum(float((own[name] ** 2).sum()) for name in names_of(half))
    return error / total
