"""Layers that share weights where no Hugging Face class can say so: one half of a layer only, layers in turns, or with
corrections."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Embedding, Linear, Module, Sequential

from palmtop.models.family import family_named
from palmtop.models.layer_weights import HALVES, PARTS_OF, Half, modules_of
from palmtop.models.linears import layers_of, part_of, path_of
from palmtop.models.tied import declare_tied

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEY = "palmtop_sharing"
"""In config.json: for each half ('attention', 'feed_forward') the number of the set of weights that each layer uses,
such as [0, 0, 1, 1], or null where each has its own; and 'rank', that of each layer's own corrections, 0 for none."""


class Corrected(Module):
    """A linear layer whose weight several layers share, with a correction of low rank and a bias of this layer's own.

    y = (W x + b) + (B A x + c), A [rank, in], B [out, rank] (Bae et al. 2024, 2410.20672; the bias c is ours).
    """

    def __init__(self, shared: Linear, rank: int) -> None:
        super().__init__()
        # inside a holder, which all layers have in common: whoever puts another module in the linear's place does so
        # for all of them
        self.shared = Sequential(shared)
        self.down = Linear(shared.in_features, rank, bias=False)
        self.up = Linear(rank, shared.out_features)

    def forward(self, hidden: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        result: Tensor = self.shared(hidden) + self.up(self.down(hidden))
        return result


def apply(model: "PreTrainedModel") -> None:
    """Let the layers of a model that was just built use the same modules, as its config says; weights are loaded
    afterwards."""
    written, kind, layers = model.config.to_dict()[KEY], model.config.model_type, layers_of(model)
    for half in HALVES:
        sets = written[half]
        if sets is None:
            continue
        for layer, first in zip(layers, (layers[sets.index(number)] for number in sets), strict=True):
            if written["rank"]:
                _correct(layer, first, half, kind, written["rank"])
            elif layer is not first:
                for path in modules_of(half, kind):
                    layer.set_submodule(path, first.get_submodule(path))
    _refused_elsewhere(model)
    declare_tied(model)


def keep(written: dict[str, Any], layers: Sequence[int]) -> dict[str, Any]:
    """What config.json says of a model that has only these layers."""
    kept = {half: written[half] and renumbered([written[half][layer] for layer in layers]) for half in HALVES}
    return {"rank": written["rank"]} | kept


def renumbered(sets: Sequence[int]) -> list[int]:
    """Sets numbered in the order in which they first come: [3, 3, 1] -> [0, 0, 1]."""
    order = list(dict.fromkeys(sets))
    return [order.index(number) for number in sets]


def corrected(layer: Module, half: Half, model_type: str) -> dict[str, Corrected]:
    """The corrected linears of a layer's half, by part."""
    found = {part: layer.get_submodule(path_of(part, model_type)) for part in PARTS_OF[half]}
    return {part: module for part, module in found.items() if isinstance(module, Corrected)}


def _correct(layer: Module, first: Module, half: Half, kind: str, rank: int) -> None:
    """Replace a half's linears; the first layer of a set lends its own to the others."""
    for part in PARTS_OF[half]:
        made = Corrected(part_of(layer, part, kind), rank)
        if layer is not first:
            lender = first.get_submodule(path_of(part, kind))
            assert isinstance(lender, Corrected)
            made.shared = lender.shared
        layer.set_submodule(path_of(part, kind), made)


def _refused_elsewhere(model: "PreTrainedModel") -> None:
    """One row more in the word embedding, which nothing reads: transformers alone finds a wrong size and refuses the
    folder.

    Without it, it would fill what is stored once only with random weights, and answer.
    """
    where = family_named(model.config.model_type).table
    table = model.base_model.get_submodule(where)
    if isinstance(table, Embedding):
        longer = Embedding(table.num_embeddings + 1, table.embedding_dim, table.padding_idx)
        model.base_model.set_submodule(where, longer)
