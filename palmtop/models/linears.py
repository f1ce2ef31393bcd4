"""The linear layers inside a transformer layer, under one name each, whatever their family calls them."""

from typing import TYPE_CHECKING, Any, Literal

from palmtop.errors import UserError
from palmtop.models.family import family_named, group_of_layers, plan_of

if TYPE_CHECKING:
    from torch.nn import Linear, Module
    from transformers import PreTrainedModel

Part = Literal["query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out"]
PARTS: tuple[Part, ...] = ("query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out")


def layers_of(model: "PreTrainedModel") -> "list[Module]":
    """The model's transformer layers from the first to the last; where layers share weights, one module stands several
    times."""
    family, body = family_named(model.config.model_type), model.base_model
    if family.groups is not None:
        groups, within = family.groups
        held: Any = body.get_submodule(_below_body(groups))
        return [layer for group in group_of_layers(model.config) for layer in held[group].get_submodule(within)]
    if family.layers is None:
        raise UserError(f"a model of the family '{family.model_type}' has no transformer layers: name a transformer")
    return list(body.get_submodule(_below_body(family.layers)))


def path_of(part: Part, model_type: str) -> str:
    """Where a part lies below its layer, in dots."""
    found: str = getattr(plan_of(model_type).parts, part)
    return found


def part_of(layer: "Module", part: Part, model_type: str) -> "Linear":
    """A linear layer inside a transformer layer.

    MobileBERT's further feed-forward blocks (`ffn.<i>`) and bottlenecks are not among the parts. Where layers share
    weights with corrections of their own, it is a `palmtop.models.shared_layers.Corrected`, which holds three.
    """
    found: Any = layer.get_submodule(path_of(part, model_type))
    linear: Linear = found
    return linear


def _below_body(path: str) -> str:
    """A path in a classifier without its first step, which is the transformer itself."""
    return path.split(".", 1)[1]
