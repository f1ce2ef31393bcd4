"""A layer's heads and neurons put into the order of another layer's, its function unchanged, so that weights can be
compared and averaged.

Layers of one network have the residual stream in common, but number their heads and neurons as chance had it.
"""

import numpy as np
import torch
from torch import Tensor

from palmtop.models.layer_weights import LayerWeights


def aligned(weights: LayerWeights, to: LayerWeights, heads: int, free_heads: bool = True) -> LayerWeights:
    """The same layer with heads and neurons in the order, and each head's inner axes in the direction, that fit `to`
    best.

    Heads are matched one to one by what they compute, W_q^T W_k and W_o W_v, which no change of a head's inner axes
    touches; neurons by the weights they read and write. Both matchings are the best of all (Hungarian method, Kuhn
    1955). A head's axes are then turned by the orthogonal matrix that brings its weights nearest (Schoenemann 1966).

    Args:
        free_heads: whether heads may change places; not where something outside the layer counts them (MPNet's position
        biases).
    """
    return weights | _aligned_attention(weights, to, heads, free_heads) | _aligned_neurons(weights, to)


def _aligned_attention(weights: LayerWeights, to: LayerWeights, heads: int, free_heads: bool) -> LayerWeights:
    own, wanted = (
        {name: _by_head(one, name, heads) for name in ("query", "key", "value", "attention_output")}
        for one in (weights, to)
    )
    if free_heads:
        score = _cosines(own, wanted, "query", "key") + _cosines(own, wanted, "value", "attention_output")
        order = _matched(score)
        own = {name: value[order] for name, value in own.items()}
    for pair in (("query", "key"), ("value", "attention_output")):
        turn = _rotation(sum(wanted[name] @ own[name].mT for name in pair))  # type: ignore[arg-type]  # a sum of tensors
        own |= {name: turn @ own[name] for name in pair}
    made = {f"{name}.weight": own[name][..., :-1].flatten(0, 1).float() for name in ("query", "key", "value")}
    made |= {f"{name}.bias": own[name][..., -1].flatten().float() for name in ("query", "key", "value")}
    return made | {"attention_output.weight": own["attention_output"].flatten(0, 1).T.contiguous().float()}


def _by_head(weights: LayerWeights, name: str, heads: int) -> Tensor:
    """[heads, size, width + 1] with the bias as the last column; of the output layer [heads, size, width],
    transposed."""
    weight = weights[f"{name}.weight"]
    rows = weight.T if name == "attention_output" else torch.cat([weight, weights[f"{name}.bias"][:, None]], dim=1)
    return rows.double().reshape(heads, -1, rows.shape[1])


def _cosines(own: dict[str, Tensor], wanted: dict[str, Tensor], left: str, right: str) -> Tensor:
    """Cosines of the products left^T right of all pairs of heads, [wanted, own]: <A^T B, C^T D> = sum (A C^T) (B
    D^T)."""

    def products(ones: dict[str, Tensor], others: dict[str, Tensor]) -> Tensor:
        grams = [torch.einsum("aiw,bjw->abij", ones[name], others[name]) for name in (left, right)]
        return (grams[0] * grams[1]).sum((-1, -2))

    norms = products(wanted, wanted).diagonal()[:, None] * products(own, own).diagonal()
    return products(wanted, own) / norms.clamp(min=torch.finfo(torch.float64).tiny).sqrt()


def _aligned_neurons(weights: LayerWeights, to: LayerWeights) -> LayerWeights:
    """One neuron is a row of the first linear, with its bias, and a column of the second."""
    own, wanted = (
        torch.cat(
            [one["feed_forward_in.weight"], one["feed_forward_in.bias"][:, None], one["feed_forward_out.weight"].T],
            dim=1,
        )
        for one in (weights, to)
    )
    score = torch.nn.functional.normalize(wanted.double(), dim=1) @ torch.nn.functional.normalize(own.double(), dim=1).T
    order = _matched(score)
    rows = {name: weights[name][order] for name in ("feed_forward_in.weight", "feed_forward_in.bias")}
    return rows | {"feed_forward_out.weight": weights["feed_forward_out.weight"][:, order].contiguous()}


def _matched(score: Tensor) -> Tensor:
    """For each row the column it gets, each column once, of the greatest sum."""
    from scipy.optimize import linear_sum_assignment

    return torch.from_numpy(np.asarray(linear_sum_assignment(score.numpy(), maximize=True)[1]))


def _rotation(product: Tensor) -> Tensor:
    """The orthogonal R of the greatest trace of R^T product, for each of a stack."""
    left, _, right = torch.linalg.svd(product)
    rotation: Tensor = left @ right
    return rotation
