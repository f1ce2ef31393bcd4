"""The pass that finds a norm that a model spells out (DeBERTa's, version 1)."""

from typing import Any

from torch import fx

from palmtop.export.graph.graph_edit import (
    aten,
    call,
    calls,
    is_constant,
    number_of,
    put_in_place,
    same,
    settle,
    shape,
)

LAST = ([-1], True)
"""A mean's arguments: over the last axis, which stays."""
SQUARED = 2


def fuse_norms(module: fx.GraphModule) -> int:
    """g (x - m) / sqrt(v + e) + s, x's mean m and variance v, is one operator: Ba et al. 2016 (1607.06450), eq. 4.

    Later passes know that one as what treats rows alike. Returns how many were found.
    """
    found = 0
    for node in calls(module, aten.div.Tensor):
        if (normed := _normed(module, node)) is None:
            continue
        source, epsilon = normed
        gained = _with_constant(node, aten.mul.Tensor)
        shifted = _with_constant(gained[0], aten.add.Tensor) if gained else None
        if gained is None or shifted is None:
            continue
        (_, gain), (end, shift) = gained, shifted
        put_in_place(
            end,
            call(module, end, aten.layer_norm.default, source, [int(shape(source)[-1])], gain, shift, epsilon),
        )
        found += 1
    settle(module)
    return found


def _normed(module: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, float] | None:
    """x and e of (x - m) / sqrt(v + e)."""
    centred, root = node.args
    if not _calls(root, aten.sqrt.default) or (source := _source_of_centred(centred)) is None:
        return None
    added: Any = root.args[0]  # type: ignore[union-attr]  # `_calls` has looked
    if not _calls(added, aten.add.Tensor) or (epsilon := number_of(module, added.args[1])) is None:
        return None
    mean: Any = added.args[0]
    if not _calls(mean, aten.mean.dim) or tuple(mean.args[1:]) != LAST:
        return None
    square: Any = mean.args[0]
    if not _calls(square, aten.pow.Tensor_Scalar) or square.args[1] != SQUARED:
        return None
    return (source, epsilon) if _source_of_centred(square.args[0]) is source else None


def _source_of_centred(node: Any) -> fx.Node | None:
    """x of x - mean(x)."""
    if not _calls(node, aten.sub.Tensor):
        return None
    source, mean = node.args
    its_own = _calls(mean, aten.mean.dim) and mean.args[0] is source and tuple(mean.args[1:]) == LAST
    return source if its_own else None


def _with_constant(node: fx.Node, target: object) -> tuple[fx.Node, fx.Node] | None:
    """The only user of a node, where it multiplies by, or adds, a constant vector; and that vector."""
    user = next(iter(node.users)) if len(node.users) == 1 else None
    if user is None or not _calls(user, target) or user.kwargs:
        return None
    vector = user.args[1] if user.args[0] is node else user.args[0]
    its_width = isinstance(vector, fx.Node) and is_constant(vector) and same(shape(vector), shape(node)[-1:])
    return (user, vector) if its_width and isinstance(vector, fx.Node) else None


def _calls(node: Any, target: object) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is target
