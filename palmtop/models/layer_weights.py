"""The weights of a transformer layer under the same names for every family: its linears and norms, and the two halves
they form."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from palmtop.models.family import family_named, plan_of
from palmtop.models.linears import PARTS, Part, part_of, path_of

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Half = Literal["attention", "feed_forward"]
HALVES: tuple[Half, ...] = ("attention", "feed_forward")
"""What can be shared between layers apart: the attention with its norm, the feed-forward part with its norm."""
PARTS_OF: dict[Half, tuple[Part, ...]] = {"attention": PARTS[:4], "feed_forward": PARTS[4:]}

LayerWeights = dict[str, "Tensor"]
"""'query.weight' [heads * size, width], 'query.bias', ..., 'attention_norm.weight' [width], 'feed_forward_norm.bias',
..."""


def places_in_layer(model_type: str) -> dict[str, str]:
    """Where those linear layers and norms of a layer lie, below it, that mean the same in every family: all of them, or
    some, or none, where a layer is built otherwise."""
    family = family_named(model_type)
    if family.plan is None:
        return dict(family.parts_alike)
    norms = {f"{half}_norm": path for half, path in zip(HALVES, family.plan.norms, strict=True)}
    return {part: path_of(part, model_type) for part in PARTS} | norms


def modules_of(half: Half, model_type: str) -> tuple[str, ...]:
    """The children of a layer that hold a half, whole and nothing else."""
    return plan_of(model_type).halves[HALVES.index(half)]


def norm_of(layer: "Module", half: Half, model_type: str) -> "Module":
    """The norm after a half."""
    return layer.get_submodule(plan_of(model_type).norms[HALVES.index(half)])


def read_layer(layer: "Module", model_type: str) -> LayerWeights:
    """Copies of a layer's weights, detached."""
    modules: dict[str, Module] = {part: part_of(layer, part, model_type) for part in PARTS}
    modules |= {f"{half}_norm": norm_of(layer, half, model_type) for half in HALVES}
    return {
        f"{name}.{kind}": weight.detach().clone()
        for name, module in modules.items()
        for kind, weight in module.named_parameters()
    }


def write_half(layer: "Module", half: Half, model_type: str, weights: Mapping[str, "Tensor"]) -> None:
    """Copy the weights of one half into a layer, in place."""
    for part in PARTS_OF[half]:
        part_of(layer, part, model_type).load_state_dict(named(weights, part))
    write_norm(layer, half, model_type, weights)


def write_norm(layer: "Module", half: Half, model_type: str, weights: Mapping[str, "Tensor"]) -> None:
    """Copy the weights of a half's norm into a layer, in place."""
    norm_of(layer, half, model_type).load_state_dict(named(weights, f"{half}_norm"))


def named(weights: Mapping[str, "Tensor"], module: str) -> dict[str, "Tensor"]:
    """The weights of one module, under its own names: weight, bias."""
    return {
        name.removeprefix(f"{module}."): value for name, value in weights.items() if name.rpartition(".")[0] == module
    }


def names_of(half: Half) -> Sequence[str]:
    """The names of a half's weights."""
    return [f"{name}.{kind}" for name in (*PARTS_OF[half], f"{half}_norm") for kind in ("weight", "bias")]
