"""A model whose layers share weights, built from one whose layers have their own: in ALBERT's class, or in its own with
palmtop's key."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from palmtop.compress.albert.shared_weights import Layers, corrections
from palmtop.models import shared_layers
from palmtop.models.family import group_of_layers
from palmtop.models.layer_weights import HALVES, PARTS_OF, Half, LayerWeights, write_half, write_norm
from palmtop.models.linears import layers_of
from palmtop.models.reshaped import rebuilt

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def ungrouped(model: "PreTrainedModel") -> "PreTrainedModel":
    """An ALBERT with as many groups as layers that computes the same."""
    config = copy.deepcopy(model.config)
    config.num_hidden_groups = config.num_hidden_layers
    return _filled(rebuilt(model, config), model, HALVES, Layers.of(model).weights)


def in_groups(model: "PreTrainedModel", shared: Sequence[LayerWeights]) -> "PreTrainedModel":
    """An ALBERT with these weights as its groups, all else as in `model`, an ALBERT too."""
    config = copy.deepcopy(model.config)
    config.num_hidden_groups = len(shared)
    return _filled(rebuilt(model, config), model, HALVES, [shared[group] for group in group_of_layers(config)])


def in_own_class(
    model: "PreTrainedModel", sets: Mapping[Half, Sequence[int]], shared: Sequence[LayerWeights], rank: int
) -> "PreTrainedModel":
    """A model of the same family that shares the halves named in `sets`, with corrections of a rank; all else as in
    `model`.

    With corrections each layer keeps its norms: they are some hundred numbers. So with the full rank it computes what
    `model` does.
    """
    config = copy.deepcopy(model.config)
    setattr(
        config,
        shared_layers.KEY,
        {"rank": rank} | {half: list(sets[half]) if half in sets else None for half in HALVES},
    )
    made, layers = rebuilt(model, config), Layers.of(model)
    if not rank:
        weights = [
            own
            | {name: value for half in sets for name, value in shared[sets[half][layer]].items() if _is_of(name, half)}
            for layer, own in enumerate(layers.weights)
        ]
        return _filled(made, model, HALVES, weights)
    _filled(made, model, [half for half in HALVES if half not in sets], layers.weights)
    for half, used in sets.items():
        for layer, number in enumerate(used):
            _fill_corrected(made, layer, half, layers.aligned(layer, shared[number]), shared[number], rank)
    return made


def _fill_corrected(
    made: "PreTrainedModel", layer: int, half: Half, own: LayerWeights, shared: LayerWeights, rank: int
) -> None:
    kind, module = made.config.model_type, layers_of(made)[layer]
    for part, linear in shared_layers.corrected(module, half, kind).items():
        linear.load_state_dict(
            {f"shared.0.{name}": shared[f"{part}.{name}"] for name in ("weight", "bias")}
            | corrections(own, shared, part, rank)
        )
    write_norm(module, half, kind, own)


def _is_of(name: str, half: Half) -> bool:
    return name.rpartition(".")[0] in (*PARTS_OF[half], f"{half}_norm")


def _filled(
    made: "PreTrainedModel", model: "PreTrainedModel", halves: Sequence[Half], weights: Sequence[LayerWeights]
) -> "PreTrainedModel":
    """Copy the halves' weights, layer by layer, and from `model` what is outside the layers; in eval mode."""
    _copy_outside_layers(model, made)
    for layer, own in zip(layers_of(made), weights, strict=True):
        for half in halves:
            write_half(layer, half, made.config.model_type, own)
    return made.eval()


def _copy_outside_layers(model: "PreTrainedModel", made: "PreTrainedModel") -> None:
    """Everything that both have by the same name; a table that has got a row more keeps that row 0."""
    old = model.state_dict()
    with torch.no_grad():
        for name, weight in made.state_dict().items():
            if name in old and old[name].shape[1:] == weight.shape[1:]:
                weight.zero_()[: len(old[name])].copy_(old[name])
