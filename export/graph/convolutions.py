"""The pass that makes linear layers of convolutions that look at one token at a time (SqueezeBERT's)."""

from typing import Any

from torch import Tensor, fx

from palmtop.export.graph.graph_edit import aten, call, calls, constant, is_constant, put_in_place, settle, value_of

CHANNELS_LAST = [0, 2, 1]
"""[batch, channels, tokens] to [batch, tokens, channels], and back."""


def pointwise_as_linear(module: fx.GraphModule) -> int:
    """conv1d(x, W, b, kernel 1, groups g) = each group of x's channels through its own rows of W, side by side.

    Every format has fast kernels and quantizers for linear layers, not for grouped convolutions, and TensorFlow.js none
    at all. Returns how many convolutions went.
    """
    gone = 0
    for node in calls(module, aten.convolution.default):
        given: Any = node.args
        source, weight, bias, stride, padding, dilation, transposed, _, groups = given
        plain = (stride, padding, dilation, transposed) == ([1], [0], [1], False)
        if not (plain and is_constant(weight) and value_of(module, weight).shape[2:] == (1,)):
            continue
        rows = call(module, node, aten.permute.default, source, CHANNELS_LAST)
        matrices = value_of(module, weight)[:, :, 0].chunk(groups)
        biases = [None] * len(matrices) if bias is None else value_of(module, bias).chunk(groups)
        made = [
            call(
                module,
                node,
                aten.linear.default,
                _channels(module, node, rows, number, matrix, len(matrices)),
                constant(module, matrix),
                None if add is None else constant(module, add),
            )
            for number, (matrix, add) in enumerate(zip(matrices, biases, strict=True))
        ]
        whole = made[0] if len(made) == 1 else call(module, node, aten.cat.default, made, -1)
        put_in_place(node, call(module, node, aten.permute.default, whole, CHANNELS_LAST))
        gone += 1
    settle(module)
    return gone


def _channels(
    module: fx.GraphModule, node: fx.Node, rows: fx.Node, number: int, matrix: Tensor, groups: int
) -> fx.Node:
    """The channels of one group, [batch, tokens, channels of a group]."""
    size = matrix.shape[1]
    if groups == 1:
        return rows
    return call(module, node, aten.slice.Tensor, rows, -1, number * size, (number + 1) * size)
