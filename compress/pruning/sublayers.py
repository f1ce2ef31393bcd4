"""A model's sub-layers (attention, feed-forward) and the structures in each (heads, neurons) that its last linear
reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import Linear, Module

from palmtop.compress.pruning.slicing import Kept, heads_of
from palmtop.models.linears import PARTS, layers_of, part_of
from palmtop.models.pruned_layers import head_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Kind = Literal["attention", "feed_forward"]


@dataclass(frozen=True)
class SubLayer:
    """One half of a transformer layer. Its structures lie side by side in the columns of its last linear."""

    layer: int
    kind: Kind
    structures: int
    """Heads or neurons that it has."""
    size: int
    """Columns of one structure: a head's width, or 1."""

    def last(self, model: "PreTrainedModel") -> Linear:
        """The linear that reads the structures: of a model of the same widths."""
        return part_of(
            self.within(model),
            "attention_output" if self.kind == "attention" else "feed_forward_out",
            model.config.model_type,
        )

    def within(self, model: "PreTrainedModel") -> Module:
        """Its layer."""
        return layers_of(model)[self.layer]

    def columns(self, structures: Iterable[int]) -> Tensor:
        """The columns of some structures, int64."""
        chosen = torch.tensor(list(structures), dtype=torch.int64)
        return (chosen[:, None] * self.size + torch.arange(self.size)).flatten()


def sublayers_of(model: "PreTrainedModel") -> list[SubLayer]:
    """Attention and feed-forward of every layer in the order in which they are computed."""
    found, kind = [], model.config.model_type
    for number, layer in enumerate(layers_of(model)):
        found.append(SubLayer(number, "attention", heads_of(layer, model.config), head_size(model.config)))
        found.append(SubLayer(number, "feed_forward", part_of(layer, "feed_forward_in", kind).out_features, 1))
    return found


def kept_of(sublayers: list[SubLayer], structures: list[tuple[int, ...]]) -> list[Kept]:
    """The structures that are kept of each sub-layer, by layer."""
    pairs = zip(sublayers[::2], structures[::2], structures[1::2], strict=True)
    return [Kept(tuple(sorted(heads)), tuple(sorted(neurons))) for _, heads, neurons in pairs]


@torch.no_grad()
def silence(model: "PreTrainedModel", sublayers: list[SubLayer], kept: list[tuple[int, ...]], constants: bool) -> None:
    """Zero what is not kept, in place.

    `constants`: zero only the weights that read the text (rows of queries, keys and values; of the first feed-forward
    layer), so that a structure still says what its biases say. Otherwise its outgoing columns, so that it says nothing.
    """
    for sub, its in zip(sublayers, kept, strict=True):
        gone = sub.columns(sorted(set(range(sub.structures)) - set(its)))
        if not constants:
            sub.last(model).weight[:, gone] = 0
            continue
        for part in PARTS[:3] if sub.kind == "attention" else PARTS[4:5]:
            part_of(sub.within(model), part, model.config.model_type).weight[gone] = 0


def operations(model: "PreTrainedModel", sub: SubLayer, tokens: int) -> float:
    """Multiply-adds of one structure for one token of a text of `tokens` tokens."""
    parts = PARTS[:4] if sub.kind == "attention" else PARTS[4:]
    linears = [part_of(sub.within(model), part, model.config.model_type) for part in parts]
    own = sum(linear.in_features if linear is not linears[-1] else linear.out_features for linear in linears) * sub.size
    return float(own + (2 * tokens * sub.size if sub.kind == "attention" else 0))
