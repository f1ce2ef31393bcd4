"""Passes over attention: one finite additive mask, and 1/sqrt(width of a head) inside the query's weights."""

import math
from typing import Any

import torch
from torch import fx

from palmtop.export.graph.edge import MASKED
from palmtop.export.graph.graph_edit import (
    aten,
    call,
    calls,
    constant,
    is_constant,
    number_of,
    put_behind,
    put_in_place,
    settle,
    shape,
    value_of,
)

LOWEST = -1e4
"""A score that is filled with this or less is meant to vanish."""
LAYOUT = (
    aten.reshape.default,
    aten.permute.default,
    aten.expand.default,
    aten.unsqueeze.default,
    aten.squeeze.dims,
    aten.squeeze.dim,
    aten.slice.Tensor,
    aten.select.int,
    aten.clone.default,
)
"""Operators that move numbers and change none."""
PRODUCTS = (aten.matmul.default, aten.bmm.default)
SCALED = (aten.mul.Tensor, aten.div.Tensor)


def add_finite_mask(module: fx.GraphModule) -> int:
    """softmax(where(hidden, -inf or the lowest float, s)) = softmax(s - 1e4 [hidden]): DeBERTa's way becomes
    everyone's.

    Rows of which everything is hidden (those of padded queries) come out otherwise; nothing reads them.
    Returns how many softmaxes were changed.
    """
    changed = 0
    for node in calls(module, aten.where.self):
        hidden, filled, scores = node.args
        number = number_of(module, filled)
        if (
            number is None
            or number > LOWEST
            or not node.users
            or not all(user.target is aten.softmax.int for user in node.users)
        ):
            continue
        mask = call(
            module,
            node,
            aten.mul.Tensor,
            call(module, node, aten._to_copy.default, _unexpanded(hidden), dtype=torch.float32),
            MASKED,
        )
        put_in_place(node, call(module, node, aten.add.Tensor, scores, mask))
        changed += 1
    settle(module)
    return changed


def _unexpanded(mask: Any) -> Any:
    """A mask before it was spread over heads and queries (XLM's): a sum spreads it by itself."""
    while mask.target is aten.expand.default and len(shape(mask)) == len(shape(mask.args[0])):
        mask = mask.args[0]
    return mask


def fold_scale(module: fx.GraphModule) -> int:
    """(q k) / sqrt(d) = (q / sqrt(d)) k, and q = W x + b takes the factor into W and b; so does a constant side of a
    product.

    A side is scaled only where each way from it ends at the same factor (DeBERTa multiplies the query with keys and
    with positions). Returns how many multiplications went.
    """
    _scale_after_products(module)
    gone = 0
    for node in [*calls(module, aten.linear.default), *(node for node in module.graph.nodes if is_constant(node))]:
        ends = _scalings(module, node)
        factors = {round(_factor(module, end), 9) for end in ends or ()}
        if not ends or len(factors) != 1 or (node.op == "call_function" and not is_constant(node.args[1])):
            continue
        _scale(module, node, _factor(module, ends[0]))
        for end in ends:
            source = end.args[0]
            assert isinstance(source, fx.Node)
            put_in_place(end, source)
        gone += len(ends)
    settle(module)
    return gone


def _scale_after_products(module: fx.GraphModule) -> None:
    """q (k / c) = (q k) / c."""
    for node in calls(module, *SCALED):
        if not _is_scaling(module, node) or len(node.users) != 1:
            continue
        user, (source, factor) = next(iter(node.users)), node.args
        if user.target in PRODUCTS and user.args[1] is node and isinstance(source, fx.Node):
            user.args = (user.args[0], source)
            module.graph.erase_node(node)
            put_behind(user, call(module, user.next, node.target, user, factor))


def _scalings(module: fx.GraphModule, node: fx.Node) -> list[fx.Node] | None:
    """Where the ways from a node through products and views end, if each ends at a factor and passes a product; None
    otherwise."""
    ends = []
    for user in node.users:
        if user.target in LAYOUT or (user.target is aten.gather.default and user.args[0] is node):
            further = _scalings(module, user)
        elif user.target in PRODUCTS and user.args[0] is not user.args[1]:
            further = _factors_after(module, user)
        else:
            return None
        if further is None:
            return None
        ends += further
    return ends


def _factors_after(module: fx.GraphModule, node: fx.Node) -> list[fx.Node] | None:
    ends = []
    for user in node.users:
        if _is_scaling(module, user) and user.args[0] is node:
            ends.append(user)
        elif user.target in LAYOUT or (user.target is aten.gather.default and user.args[0] is node):
            further = _factors_after(module, user)
            if further is None:
                return None
            ends += further
        else:
            return None
    return ends


def _is_scaling(module: fx.GraphModule, node: fx.Node) -> bool:
    return node.target in SCALED and number_of(module, node.args[1]) is not None


def _factor(module: fx.GraphModule, node: fx.Node) -> float:
    number = number_of(module, node.args[1])
    assert number is not None and math.isfinite(number)
    return number if node.target is aten.mul.Tensor else 1 / number


def _scale(module: fx.GraphModule, node: fx.Node, factor: float) -> None:
    if node.op == "get_attr":
        put_in_place(node, constant(module, value_of(module, node) * factor))
        return
    scaled = (
        constant(module, value_of(module, source) * factor) if is_constant(source) else None for source in node.args[1:]
    )
    node.args = (node.args[0], *scaled)
