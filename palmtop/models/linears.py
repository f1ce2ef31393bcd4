"""The linear layers inside a transformer layer, under one name each, whatever their family calls them."""

from typing import TYPE_CHECKING, Any, Literal

from palmtop.models.family import FAMILIES, group_of_layers

if TYPE_CHECKING:
    from torch.nn import Linear, Module
    from transformers import PreTrainedModel

Part = Literal["query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out"]
PARTS: tuple[Part, ...] = ("query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out")

_BERT = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "feed_forward_in": "intermediate.dense",
    "feed_forward_out": "output.dense",
}
_PATHS: dict[str, dict[str, str]] = {
    "albert": {
        "query": "attention.query",
        "key": "attention.key",
        "value": "attention.value",
        "attention_output": "attention.dense",
        "feed_forward_in": "ffn",
        "feed_forward_out": "ffn_output",
    },
    "deberta-v2": _BERT
    | {"query": "attention.self.query_proj", "key": "attention.self.key_proj", "value": "attention.self.value_proj"},
    "distilbert": {
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "attention_output": "attention.out_lin",
        "feed_forward_in": "ffn.lin1",
        "feed_forward_out": "ffn.lin2",
    },
    "mpnet": _BERT
    | {
        "query": "attention.attn.q",
        "key": "attention.attn.k",
        "value": "attention.attn.v",
        "attention_output": "attention.attn.o",
    },
}


def layers_of(model: "PreTrainedModel") -> "list[Module]":
    """The model's transformer layers from the first to the last; where layers share weights, one module stands several
    times."""
    family, body = FAMILIES[model.config.model_type], model.base_model
    if family.layers is None:
        return [
            layer
            for group in group_of_layers(model.config)
            for layer in body.encoder.albert_layer_groups[group].albert_layers
        ]
    return list(body.get_submodule(family.layers.split(".", 1)[1]))


def path_of(part: Part, model_type: str) -> str:
    """Where a part lies below its layer, in dots."""
    return _PATHS.get(model_type, _BERT)[part]


def part_of(layer: "Module", part: Part, model_type: str) -> "Linear":
    """A linear layer inside a transformer layer.

    MobileBERT's further feed-forward blocks (`ffn.<i>`) and bottlenecks are not among the parts. Where layers share
    weights with corrections of their own, it is a `palmtop.models.shared_layers.Corrected`, which holds three.
    """
    found: Any = layer.get_submodule(path_of(part, model_type))
    linear: Linear = found
    return linear
