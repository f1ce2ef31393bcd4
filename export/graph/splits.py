"""The pass that reads the pieces of a split as slices, which every format has."""

import operator
from typing import Any

from torch import fx

from palmtop.export.graph.graph_edit import aten, call, calls, put_in_place, settle


def slices_for_splits(module: fx.GraphModule) -> int:
    """split(x, sizes)[i] = x[start of i : end of i]; the gate of a gated feed-forward part is such a piece.

    Returns how many splits went.
    """
    gone = 0
    for node in calls(module, aten.split_with_sizes.default):
        given: Any = node.args
        source, sizes, *axis = given
        pieces = [user for user in node.users if user.target is operator.getitem]
        if len(pieces) < len(node.users) or not all(isinstance(size, int) for size in sizes):
            continue
        for piece in pieces:
            number: Any = piece.args[1]
            start = sum(sizes[:number])
            cut = (source, *(axis or [0]), start, start + sizes[number])
            put_in_place(piece, call(module, piece, aten.slice.Tensor, *cut))
        gone += 1
    settle(module)
    return gone
