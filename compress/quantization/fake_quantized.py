"""A model whose linear layers and embeddings compute with weights on the file's grid while it is trained."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from palmtop.compress.quantization import grid
from palmtop.errors import did_you_mean, raise_all
from palmtop.models.family import family_named

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Rounding:
    """How one weight is stored."""

    bits: int
    block: int | None = None
    """Values of a row that share a scale; the whole row by default."""


def plan(
    model: "PreTrainedModel", linear: Rounding, embedding: Rounding, int8_modules: Sequence[str]
) -> dict[str, Rounding]:
    """How each linear layer and embedding table of a model is stored, by the module's name.

    Args:
        int8_modules: names, or dotted parts of names, of modules that keep 8 bits: 'classifier', 'layer.0', 'query'.

    Raises:
        UserError: a name that no module has, or a width that the blocks don't divide; all told together.
    """
    known = dict(_stored(model))
    faults = [
        f"int8_modules: no linear layer or embedding has '{name}' in its name; {did_you_mean(name, _parts(known))}"
        for name in int8_modules
        if not any(_is_in(module, name) for module in known)
    ]
    chosen = {}
    for name, module in known.items():
        usual = linear if isinstance(module, nn.Linear) else embedding
        chosen[name] = Rounding(8) if any(_is_in(name, part) for part in int8_modules) else usual
    widths = {known[name].weight.shape[1] for name, rounding in chosen.items() if rounding.block}
    odd = sorted(width for width in widths if linear.block and width % linear.block)
    if odd:
        faults.append(
            f"block_size is {linear.block}, which doesn't divide the width {' or '.join(map(str, odd))} of linear "
            "layers: choose one that does, or none"
        )
    raise_all(faults)
    return chosen


def join_only_type(model: "PreTrainedModel") -> None:
    """Add the only token type's row to the positions, in place, where those are looked up (RoBERTa): the model computes
    what it did.

    An export adds them up anyway, and a sum of two grids is on neither. The row left behind stays 0 in training.
    """
    if not family_named(model.config.model_type).positions_after_pad:
        return
    tables = {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    with torch.no_grad():
        for name, types in tables.items():
            if name.endswith("token_type_embeddings") and len(types) == 1:
                tables[name.replace("token_type", "position")].add_(types)
                types.zero_().requires_grad_(False)


def round_in_training(model: "PreTrainedModel", chosen: Mapping[str, Rounding], activations: bool) -> None:
    """Let the modules compute on their grids, in place; parameters stay float, keep their names, and get
    straight-through gradients.

    Args:
        activations: whether the inputs of linear layers are rounded too, as the file's kernels do.
    """
    for name, rounding in chosen.items():
        module = model.get_submodule(name)
        if isinstance(module, nn.Linear):
            model.set_submodule(name, _RoundedLinear(module, rounding, activations))
        else:
            # a row has a scale of its own, so rounding what was looked up is rounding the table
            module.register_forward_hook(_round_rows(rounding))


def write_back(model: "PreTrainedModel", chosen: Mapping[str, Rounding]) -> None:
    """Set the weights to the values they were computed with."""
    with torch.no_grad():
        for name, rounding in chosen.items():
            weight = model.get_submodule(name).weight
            weight.copy_(grid.on_grid(weight, rounding.bits, rounding.block))


class _RoundedLinear(nn.Module):
    def __init__(self, linear: nn.Linear, rounding: Rounding, activations: bool) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._rounding, self._activations = rounding, activations

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., outputs]."""
        seen = grid.dynamic_int8(x) if self._activations else x
        return nn.functional.linear(
            seen, grid.rounded(self.weight, self._rounding.bits, self._rounding.block), self.bias
        )


def _round_rows(rounding: Rounding) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], rows: Tensor) -> Tensor:
        return grid.rounded(rows.flatten(0, -2), rounding.bits, rounding.block).view(rows.shape)

    return hook


def _stored(model: "PreTrainedModel") -> Iterator[tuple[str, nn.Linear | nn.Embedding]]:
    """Every linear layer, and every table that is looked up when the file runs."""
    counted = family_named(model.config.model_type).positions_after_pad
    for name, module in model.named_modules():
        # positions that don't depend on the text end in the file as float constants, and relative ones pass a norm
        # first
        constant = name.endswith(("rel_embeddings", "embed_positions")) or (
            name.endswith("position_embeddings") and not counted
        )
        # layers that pruning left without heads or neurons have linears without weights
        if isinstance(module, nn.Linear | nn.Embedding) and not constant and module.weight.numel():
            yield name, module


def _is_in(module: str, part: str) -> bool:
    return f".{part}." in f".{module}."


def _parts(modules: Iterable[str]) -> set[str]:
    return {part for name in modules for part in (name, *name.split("."))}
