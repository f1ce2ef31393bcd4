"""Passes for LiteRT alone: forms that its converter turns into fewer and older operators."""

from typing import Any

import torch
from torch import Tensor, fx

from palmtop.export.graph.graph_edit import (
    aten,
    call,
    calls,
    constant,
    is_constant,
    put_in_place,
    settle,
    shape,
    value_of,
)

RANK = 4
DEFAULT_EPSILON = 1e-5
"""Of torch's layer_norm."""
SWAPPED = [0, 1, 3, 2]


def spell_out_norms(module: fx.GraphModule) -> int:
    """Ba et al. 2016 (arXiv:1607.06450), eq. 4, centred once: the converter's own way has six reshapes more. Gain and
    shift stay where they are (`shift_by_subtraction`). Returns how many norms were spelled out.
    """
    for node in (found := calls(module, aten.layer_norm.default)):
        given: list[Any] = list(node.args)
        value, _, weight, bias, eps, *_ = given + [None, None, DEFAULT_EPSILON][len(given) - 2 :]
        centred = call(module, node, aten.sub.Tensor, value, call(module, node, aten.mean.dim, value, [-1], True))
        variance = call(module, node, aten.mean.dim, call(module, node, aten.mul.Tensor, centred, centred), [-1], True)
        # one number for all rows would cost a reshape: the converter adds it on an axis less
        added = constant(module, torch.full([int(size) for size in shape(variance)], eps))
        scale = call(module, node, aten.rsqrt.default, call(module, node, aten.add.Tensor, variance, added))
        result = call(module, node, aten.mul.Tensor, centred, scale)
        result = result if weight is None else call(module, node, aten.mul.Tensor, result, weight)
        put_in_place(node, result if bias is None else call(module, node, aten.add.Tensor, result, bias))
    settle(module)
    return len(found)


def shift_by_subtraction(module: fx.GraphModule) -> int:
    """x g + s = x g - (-s), bit for bit, for constant vectors: norms that the converter leaves alone.

    It turns W (x g + s) into W' x with the gain in the weight's columns, although the residual needs x g + s all the
    same: nothing is saved, and a weight on a grid of one scale for each row leaves that grid. It looks for an addition.
    Returns how many shifts were changed.
    """
    changed = 0
    for node in calls(module, aten.add.Tensor):
        gained, shift = node.args
        if is_constant(shift) and not node.kwargs and isinstance(gained, fx.Node) and gained.target is aten.mul.Tensor:
            put_in_place(node, call(module, node, aten.sub.Tensor, gained, constant(module, -value_of(module, shift))))
            changed += 1
    settle(module)
    return changed


def keep_rank_four(module: fx.GraphModule) -> int:
    """Products of attention as `einsum`, which the converter turns into a BATCH_MATMUL of rank 4 that reads a
    transposed operand in place; `matmul` becomes reshapes and one of rank 3, with which a masked softmax is wrong on
    the GPU (google-ai-edge/LiteRT#8593). Returns how many products were changed.
    """
    found = [
        node
        for node in calls(module, aten.matmul.default)
        if all(len(shape(source)) == RANK for source in node.all_input_nodes)
    ]
    for node in found:
        left, right = node.args
        source = _swapped(right)
        formula = "bhqd,bhdk->bhqk" if source is None else "bhqd,bhkd->bhqk"
        put_in_place(
            node, call(module, node, aten.einsum.default, formula, [left, right if source is None else source])
        )
    settle(module)
    return len(found)


def look_up_gathered(module: fx.GraphModule) -> int:
    """out[h, i, j] = x[h, i, index[i, j]] as a look-up in the table x[(i, k), h]: DeBERTa's relative positions.

    The converter's own way is GATHER_ND on pairs of indices, which older runtimes refuse. Returns how many were
    changed.
    """
    changed = 0
    for node in calls(module, aten.gather.default):
        source, dim, index = node.args[:3]
        assert isinstance(source, fx.Node)
        matrix = _shared_index(module, index)
        if dim not in (-1, len(shape(source)) - 1) or matrix is None:
            continue
        rows, width = shape(source)[-2:]
        places = (matrix + torch.arange(int(rows))[:, None] * int(width)).flatten().to(torch.int32)
        table = call(
            module,
            node,
            aten.permute.default,
            call(module, node, aten.reshape.default, source, [-1, rows * width]),
            [1, 0],
        )
        found = call(module, node, aten.embedding.default, table, constant(module, places))
        turned = call(module, node, aten.permute.default, found, [1, 0])
        put_in_place(node, call(module, node, aten.reshape.default, turned, list(shape(node))))
        changed += 1
    settle(module)
    return changed


def _shared_index(module: fx.GraphModule, node: Any) -> Tensor | None:
    """A constant index [rows, columns] that all leading axes share."""
    while node.target is aten.expand.default:
        node = node.args[0]
    if not is_constant(node):
        return None
    index = value_of(module, node)
    index = index.reshape(-1, *index.shape[-2:])
    return index[0] if bool((index == index[0]).all()) else None


def _swapped(node: Any) -> fx.Node | None:
    """What a transposition of the last two axes is made of."""
    return node.args[0] if node.target is aten.permute.default and list(node.args[1]) == SWAPPED else None
