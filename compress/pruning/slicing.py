"""Really smaller layers: heads and feed-forward neurons that always say the same are cut out, and what they say goes
into a bias."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Linear, Module

from palmtop.compress.learning.batches import model_inputs
from palmtop.models.family import family_named
from palmtop.models.linears import layers_of, part_of
from palmtop.models.pruned_layers import KEY, LayerShape, cut, head_size, shapes_of, write_shapes
from palmtop.models.reshaped import rebuilt

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch

TOLERANCE = 1e-5
"""Of the logits, or as a share of the largest of them where that is over 1."""


@dataclass(frozen=True)
class Kept:
    """What of a layer stays: places among the heads and neurons that it has, from 0, ascending."""

    heads: tuple[int, ...]
    neurons: tuple[int, ...]


def heads_of(layer: Module, config: "PreTrainedConfig") -> int:
    """How many heads a layer has."""
    return part_of(layer, "query", config.model_type).out_features // head_size(config)


def alive(model: "PreTrainedModel", multiple: int = 1) -> list[Kept]:
    """What of each layer says something that depends on the text.

    A head or neuron is dead if all its outgoing weights are 0, or all that make its value (for a neuron, that come in).
    Dead neurons are kept where the width would be no multiple of `multiple` without them.
    """
    config, found = model.config, []
    for layer in layers_of(model):
        rows, columns = (part_of(layer, part, config.model_type).weight for part in ("value", "attention_output"))
        size = head_size(config)
        heads = [
            head
            for head in range(heads_of(layer, config))
            if rows[head * size : (head + 1) * size].any() and columns[:, head * size : (head + 1) * size].any()
        ]
        first, second = (
            part_of(layer, part, config.model_type).weight for part in ("feed_forward_in", "feed_forward_out")
        )
        living = (first != 0).any(1) & (second != 0).any(0)
        found.append(Kept(tuple(heads), _rounded_up(living, multiple)))
    return found


def sliced(model: "PreTrainedModel", kept: Sequence[Kept]) -> "PreTrainedModel":
    """A model of only what is kept; what the rest says, if it is dead, is added to the biases: then the two models
    answer the same.

    Of a head without values it is b_V W_O (attention adds up to 1), of a neuron without inputs act(b_1) W_2.
    """
    smaller = copy.deepcopy(model)
    shapes = []
    for layer, shape, its in zip(layers_of(smaller), shapes_of(model), kept, strict=True):
        _fold(layer, model.config, its)
        cut(layer, model.config, its.heads, its.neurons)
        shapes.append(LayerShape(tuple(shape.heads[head] for head in its.heads), len(its.neurons)))
    config = copy.deepcopy(model.config)
    setattr(config, KEY, write_shapes(shapes))
    made = rebuilt(model, config)
    made.load_state_dict(smaller.state_dict())
    return made.eval()


def check_equal(masked: "PreTrainedModel", smaller: "PreTrainedModel", batches: "Iterable[Batch]") -> dict[str, Any]:
    """Compare a model with the smaller one cut out of it; returns the largest difference of their logits as a fact.

    Both compute in float64: what float32 rounds differently, because it adds up in another order, is no fault of the
    cutting, and grows in models without layer norms.

    Raises:
        RuntimeError: they differ.
    """
    largest = difference = 0.0
    masked, smaller = (copy.deepcopy(model).double().eval() for model in (masked, smaller))
    with torch.inference_mode():
        for batch in batches:
            expected, found = masked(**model_inputs(batch)).logits, smaller(**model_inputs(batch)).logits
            largest, difference = (
                max(largest, float(expected.abs().max())),
                max(difference, float((found - expected).abs().max())),
            )
    if difference > TOLERANCE * max(1.0, largest):
        raise RuntimeError(f"the smaller model's logits differ from the masked model's by {difference:.3g}")
    return {"difference_from_masked": float(f"{difference:.3g}")}


def shape_facts(model: "PreTrainedModel", before: "PreTrainedModel") -> dict[str, Any]:
    """What is left: heads and feed-forward neurons of each layer, parameters of the encoder's layers and of all."""
    shapes = shapes_of(model)
    in_layers, were = (
        sum(parameter.numel() for layer in layers_of(each) for parameter in layer.parameters())
        for each in (model, before)
    )
    return {
        "heads": [len(shape.heads) for shape in shapes],
        "feed_forward": [shape.feed_forward for shape in shapes],
        "layer_parameters": in_layers,
        "layer_parameters_kept": round(in_layers / were, 4),
        "parameters": model.num_parameters(),
    }


def activation_of(config: "PreTrainedConfig") -> Module:
    """The function between the feed-forward layers."""
    from transformers.activations import ACT2FN

    found: Module = ACT2FN[getattr(config, family_named(config.model_type).activation)]
    return found


def _rounded_up(living: Tensor, multiple: int) -> tuple[int, ...]:
    """Places of the living, and of as many dead as make the number a multiple (or all there are)."""
    chosen, dead = living.nonzero().flatten().tolist(), (~living).nonzero().flatten().tolist()
    return tuple(sorted(chosen + dead[: -len(chosen) % multiple]))


@torch.no_grad()
def _fold(layer: Module, config: "PreTrainedConfig", kept: Kept) -> None:
    kind, size = config.model_type, head_size(config)
    value, output = part_of(layer, "value", kind), part_of(layer, "attention_output", kind)
    rows = [
        row
        for head in range(heads_of(layer, config))
        if head not in kept.heads
        for row in range(head * size, (head + 1) * size)
    ]
    _add_to_bias(output, value.bias, rows)
    first, second = part_of(layer, "feed_forward_in", kind), part_of(layer, "feed_forward_out", kind)
    _add_to_bias(second, activation_of(config)(first.bias), sorted(set(range(first.out_features)) - set(kept.neurons)))


def _add_to_bias(linear: Linear, constants: Tensor, columns: Sequence[int]) -> None:
    chosen = torch.tensor(list(columns), dtype=torch.int64)
    linear.bias.add_(linear.weight[:, chosen] @ constants[chosen])
