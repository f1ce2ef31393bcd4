"""Passes that compute now what needs no input: operators that change nothing, constants, what is computed twice."""

from typing import Any

import torch
from torch import Tensor, fx

from palmtop.export.graph.graph_edit import (
    aten,
    calls,
    constant,
    is_constant,
    is_tensor,
    number_of,
    put_in_place,
    same,
    settle,
    shape,
    value_of,
)

COPIES = (aten.clone.default, aten.alias.default, aten.detach.default, aten.lift_fresh_copy.default)
VIEWS = (aten.reshape.default, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims)
WITH_BIAS = 3
"""Arguments of a linear layer that has a bias."""


def drop_no_ops(module: fx.GraphModule) -> int:
    """Copies, casts to the same type, views of the same sizes, + 0, * 1: `f(x) = x`. Returns how many went."""
    gone = 0
    for node in calls(
        module,
        *COPIES,
        aten._to_copy.default,
        aten.reshape.default,
        aten.expand.default,
        aten.repeat.default,
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.mul.Tensor,
        aten.div.Tensor,
    ):
        source = node.args[0]
        if isinstance(source, fx.Node) and is_tensor(source) and _unchanged(module, node, source):
            put_in_place(node, source)
            gone += 1
    settle(module)
    return gone


def _unchanged(module: fx.GraphModule, node: fx.Node, source: fx.Node) -> bool:
    if node.meta["val"].dtype != source.meta["val"].dtype or not same(shape(node), shape(source)):
        return False
    if node.target in (aten.add.Tensor, aten.sub.Tensor):
        return number_of(module, node.args[1]) == 0
    if node.target in (aten.mul.Tensor, aten.div.Tensor):
        return number_of(module, node.args[1]) == 1
    if node.target is aten.repeat.default:
        return all(count == 1 for count in node.args[1])  # type: ignore[union-attr]  # repeat takes a list
    return True


def fold_constants(module: fx.GraphModule) -> int:
    """What depends on no input becomes a constant: BERT's positions, the relative ones of MPNet and DeBERTa at a fixed
    length.

    `expand` stays, so that no constant is stored in copies. Returns how many calls were computed.
    """
    folded = 0
    for node in list(module.graph.nodes):
        if (
            node.op == "call_function"
            and is_tensor(node)
            and node.target is not aten.expand.default
            and all(is_constant(source) for source in node.all_input_nodes)
        ):
            put_in_place(node, constant(module, _compute(module, node)))
            folded += 1
    settle(module)
    return folded


def _compute(module: fx.GraphModule, node: fx.Node) -> Tensor:
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda source: value_of(module, source))
    assert callable(node.target)
    with torch.no_grad():
        result = node.target(*args, **kwargs)
    assert isinstance(result, Tensor)
    return result


def join_views(module: fx.GraphModule) -> int:
    """A view of a view is one view. Returns how many had another between them and their source."""
    joined = 0
    for node in calls(module, aten.reshape.default):
        source: Any = node.args[0]
        while source.target in VIEWS:
            source = source.args[0]
        joined += source is not node.args[0]
        node.args = (source, *node.args[1:])
    settle(module)
    return joined


def share_calls(module: fx.GraphModule) -> int:
    """The same operator on the same arguments is computed once: a mask that every layer makes anew. Returns how many
    went."""
    seen: dict[str, fx.Node] = {}
    gone = 0
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        first = seen.setdefault(repr((node.target, node.args, sorted(node.kwargs.items()))), node)
        if first is not node:
            put_in_place(node, first)
            gone += 1
    settle(module)
    return gone


def fold_affine(module: fx.GraphModule) -> int:
    """g (W x + b) + c = (g W) x + (g b + c), g and c one number for each output: MobileBERT's norms after a linear
    layer.

    Returns how many linear layers took something in.
    """
    folded = 0
    for node in calls(module, aten.linear.default):
        while (step := _affine_step(node)) is not None:
            user, vector = step
            weight, bias = _weights(module, node)
            by = value_of(module, vector)
            scaled = (weight * by[:, None], bias * by) if user.target is aten.mul.Tensor else (weight, bias + by)
            node.args = (node.args[0], *(constant(module, tensor) for tensor in scaled))
            put_in_place(user, node)
            folded += 1
    settle(module)
    return folded


def _affine_step(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The only user of a linear layer and the constant vector that it multiplies by or adds."""
    user = next(iter(node.users)) if len(node.users) == 1 else None
    if (
        user is None
        or user.target not in (aten.mul.Tensor, aten.add.Tensor)
        or user.kwargs
        or not is_constant(node.args[1])
    ):
        return None
    vector = user.args[1] if user.args[0] is node else user.args[0]
    if not is_constant(vector) or not isinstance(vector, fx.Node) or not same(shape(vector), shape(node)[-1:]):
        return None
    return user, vector


def _weights(module: fx.GraphModule, node: fx.Node) -> tuple[Tensor, Tensor]:
    weight = value_of(module, node.args[1])
    has_bias = len(node.args) == WITH_BIAS and node.args[2] is not None
    return weight, value_of(module, node.args[2]) if has_bias else torch.zeros(len(weight))


def fuse_gelu(module: fx.GraphModule) -> int:
    """x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) written out (ALBERT) is one operator: Hendrycks & Gimpel 2016
    (arXiv:1606.08415).

    Returns how many were found.
    """

    def written_out(x: Tensor) -> Tensor:
        inner = aten.mul.Tensor(
            aten.add.Tensor(x, aten.mul.Tensor(aten.pow.Tensor_Scalar(x, 3.0), 0.044715)), 0.7978845608028654
        )
        half, factor = aten.mul.Tensor(x, 0.5), aten.add.Tensor(aten.tanh.default(inner), 1.0)
        return aten.mul.Tensor(half, factor)  # type: ignore[no-any-return]  # torch's operators are untyped

    def fused(x: Tensor) -> Tensor:
        return aten.gelu.default(x, approximate="tanh")  # type: ignore[no-any-return]  # torch's operators are untyped

    found = fx.replace_pattern(module, written_out, fused)
    settle(module)
    return len(found)
