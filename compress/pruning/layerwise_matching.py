"""Least squares after removal: layer by layer, what is left of a sub-layer is fitted to what the full one says on the
same texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Module

from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.pruning.second_order_removal import damped, with_one
from palmtop.compress.pruning.sublayers import SubLayer
from palmtop.errors import UserError
from palmtop.models.family import family_named
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch

FARTHEST = 10.0
"""A scale outside +-10 means that least squares has lost its footing (Kwon et al.'s code)."""

Method = Literal["rescale", "refit"]


@dataclass
class _Texts:
    """A batch on its way through the layers of both models."""

    real: Tensor
    full: Tensor
    """Hidden states of the full model [batch, tokens, width]."""
    pruned: Tensor
    rest: tuple[Any, ...] = ()
    """What a layer is given besides; the same for all layers."""
    named: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Normal:
    """The normal equations of what a sub-layer's output lacks, over the columns that are kept and the bias."""

    moments: Float[Tensor, "columns_plus_one columns_plus_one"]
    lacking: Float[Tensor, "columns_plus_one outputs"]
    tokens: int
    mean_square: float
    """Of all inputs, those of columns that are gone too."""


def check_layers(config: "PreTrainedConfig") -> None:
    """Raises: UserError: a model whose layers don't simply follow each other."""
    word = family_named(config.model_type).convolution
    if word is not None and config.to_dict().get(word):
        raise UserError(
            "this DeBERTa has a convolution between its layers, which matching layer by layer doesn't follow: choose "
            "the criterion magnitude, or fisher with rescale: false"
        )


@torch.no_grad()
def match(
    full: "PreTrainedModel",
    pruned: "PreTrainedModel",
    sublayers: Sequence[SubLayer],
    kept: Sequence[tuple[int, ...]],
    batches: "Sequence[Batch]",
    method: Method,
    damping: float,
) -> int:
    """Fit each sub-layer of `pruned` in place, in the order in which they are computed; returns how many were.

    The inputs are those that the pruned model has by then, the targets the full model's outputs of the same sub-layer.
    'rescale' fits one factor for each structure (Kwon et al. 2022: damp 1; it ends where a factor leaves +-10); 'refit'
    fits all weights that are left and the bias, drawn to what they were by `damping` (share of the inputs' mean
    square): with the full model's own inputs this is the second-order update.
    """
    texts, fitted, going = [_start(full, batch) for batch in batches], 0, True
    for number, (theirs, ours) in enumerate(zip(layers_of(full), layers_of(pruned), strict=True)):
        of_layer = [(sub, its) for sub, its in zip(sublayers, kept, strict=True) if sub.layer == number]
        heard = [_hear(theirs, [sub.last(full) for sub, _ in of_layer], text, text.full) for text in texts]
        for place, (sub, its) in enumerate(of_layer):
            if going and _can_be_fitted(sub, its, method):
                equations = _normal_equations(ours, pruned, sub, its, texts, [said[place] for said, _ in heard])
                going = (
                    _rescale(pruned, sub, its, equations)
                    if method == "rescale"
                    else _refit(pruned, sub, its, equations, damping)
                )
                fitted += going
        for text, (_, output) in zip(texts, heard, strict=True):
            text.full, text.pruned = output, _call(ours, text, text.pruned)
    return fitted


def _can_be_fitted(sub: SubLayer, kept: Sequence[int], method: Method) -> bool:
    """A rescaling needs something that is left; a refit gives a sub-layer that lost everything what it said on average,
    as its bias."""
    return sub.structures > 0 if method == "refit" else 0 < len(kept) < sub.structures


def _start(model: "PreTrainedModel", batch: "Batch") -> _Texts:
    """What the first layer is given."""
    text = _Texts(batch["attention_mask"].bool(), torch.empty(0), torch.empty(0))

    def keep(_: Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        first = given[0] if given else named["hidden_states"]
        text.full = text.pruned = first.detach()
        text.rest, text.named = given[1:], {name: value for name, value in named.items() if name != "hidden_states"}

    hook = layers_of(model)[0].register_forward_pre_hook(keep, with_kwargs=True)
    model.eval()(**model_inputs(batch))
    hook.remove()
    return text


def _call(layer: Module, text: _Texts, hidden: Tensor) -> Tensor:
    output = layer(hidden, *text.rest, **text.named)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


def _hear(layer: Module, linears: Sequence[Module], text: _Texts, hidden: Tensor) -> tuple[list[Tensor], Tensor]:
    """What the last linears of a layer answer at real tokens, [tokens, outputs] each, and the layer's output."""
    said: list[Tensor] = []
    hooks = [
        linear.register_forward_hook(lambda _, __, output: said.append(_every(output, text.real))) for linear in linears
    ]
    output = _call(layer, text, hidden)
    for hook in hooks:
        hook.remove()
    return said, output


def _every(output: Tensor, real: Tensor) -> Tensor:
    """Rows of real tokens; a bias alone stands for all."""
    return output.expand(int(real.sum()), -1) if output.dim() == 1 else output[real]


def _normal_equations(
    layer: Module,
    model: "PreTrainedModel",
    sub: SubLayer,
    kept: Sequence[int],
    texts: Sequence[_Texts],
    targets: Sequence[Tensor],
) -> _Normal:
    columns, linear = sub.columns(kept), sub.last(model)
    moments, lacking = (
        linear.weight.new_zeros(len(columns) + 1, size) for size in (len(columns) + 1, linear.out_features)
    )
    tokens, squares = 0, 0.0
    for text, target in zip(texts, targets, strict=True):
        given: list[Tensor] = []
        hook = linear.register_forward_pre_hook(lambda _, its, given=given: given.append(its[0]))
        _call(layer, text, text.pruned)
        hook.remove()
        inputs = given[0][text.real]
        rest = target - torch.nn.functional.linear(inputs, linear.weight, linear.bias)
        chosen = with_one(inputs[:, columns])
        moments, lacking, tokens = moments + chosen.T @ chosen, lacking + chosen.T @ rest, tokens + len(inputs)
        squares += float(inputs.square().mean(1).sum())
    return _Normal(moments, lacking, tokens, squares / tokens)


def _refit(model: "PreTrainedModel", sub: SubLayer, kept: Sequence[int], equations: _Normal, damping: float) -> bool:
    """W_K <- W_K + change, (H + lambda) change' = E[x (target - W_K x - b)']."""
    linear, columns = sub.last(model), sub.columns(kept)
    hessian = damped(equations.moments / equations.tokens, damping * equations.mean_square)
    change = torch.linalg.solve(hessian, equations.lacking.double() / equations.tokens)
    linear.weight[:, columns] += change[:-1].T.to(linear.weight.dtype)
    linear.bias.add_(change[-1].to(linear.bias.dtype))
    return True


def _rescale(model: "PreTrainedModel", sub: SubLayer, kept: Sequence[int], equations: _Normal) -> bool:
    """Structure i says W_i x_i: the factors' Gram matrix is the sum over i's and j's columns of (x x') times (W' W)."""
    linear, columns, count = sub.last(model), sub.columns(kept), len(kept)
    weight = linear.weight[:, columns].double()
    gram = equations.moments[:-1, :-1].double() * (weight.T @ weight)
    gram = gram.reshape(count, sub.size, count, sub.size).sum((1, 3))
    wanted = (weight.T * equations.lacking[:-1].double()).sum(1).reshape(count, sub.size).sum(1)
    scales = 1 + torch.linalg.solve(gram + torch.eye(count).double(), wanted)
    if float(scales.abs().max()) > FARTHEST:
        return False
    linear.weight[:, columns] *= scales.repeat_interleave(sub.size).to(linear.weight.dtype)
    return True
