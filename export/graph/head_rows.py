"""The pass that computes only the rows which the head reads: of the last layer [CLS] alone, against all keys and
values."""

from dataclasses import dataclass
from typing import Any

from torch import fx

from palmtop.export.graph.graph_edit import Size, aten, call, calls, is_tensor, put_in_place, same, settle, shape

POINTWISE = frozenset(
    {
        aten.add.Tensor,
        aten.sub.Tensor,
        aten.mul.Tensor,
        aten.div.Tensor,
        aten.gelu.default,
        aten.relu.default,
        aten.tanh.default,
        aten.sigmoid.default,
        aten.silu.default,
        aten.pow.Tensor_Scalar,
        aten.neg.default,
        aten.where.self,
        aten._to_copy.default,
    }
)
"""Operators that compute each number from the numbers at its place."""
ALONG_LAST = frozenset({aten.linear.default, aten.layer_norm.default})
"""Operators that compute each row from the row at its place."""
PRODUCTS = frozenset({aten.matmul.default, aten.bmm.default})


@dataclass(frozen=True)
class Row:
    """One index of an axis."""

    axis: int
    index: int


def read_rows(module: fx.GraphModule) -> int:
    """f(x)[row] = f(x[row]) for every f that treats rows alike, from the head's `select` up to where all rows are
    needed.

    A node is cut to the row where each of its users wants that row and no other; keys and values are wanted whole, so
    the cut ends at what they are made of. Returns how many nodes compute one row instead of all.
    """
    wanted = _wanted_rows(module)
    cut: dict[fx.Node, fx.Node] = {}
    for node in list(module.graph.nodes):
        if node in wanted:
            cut[node] = _cut(module, node, wanted, cut)
    for node in calls(module, aten.select.int):
        source, axis = node.args[:2]
        if isinstance(source, fx.Node) and source in cut:
            put_in_place(node, call(module, node, aten.select.int, cut[source], axis, 0))
    settle(module)
    return len(cut)


def _wanted_rows(module: fx.GraphModule) -> dict[fx.Node, Row]:
    """For each node of which all users want the same one row: that row."""
    demands: dict[fx.Node, set[Row | None]] = {}
    wanted: dict[fx.Node, Row] = {}
    for node in reversed(module.graph.nodes):
        row = _only(demands.get(node, set()))
        if row is not None and node.op == "call_function" and (given := _operand_rows(node, row)) is not None:
            wanted[node] = row
            for source, its in given.items():
                demands.setdefault(source, set()).add(its)
        else:
            for source in node.all_input_nodes:
                demands.setdefault(source, set()).add(_selected(node, source))
    return wanted


def _only(demands: set[Row | None]) -> Row | None:
    return next(iter(demands)) if len(demands) == 1 else None


def _selected(node: fx.Node, source: fx.Node) -> Row | None:
    """The row that a `select` reads of its source."""
    index: Any = node.args[2] if node.target is aten.select.int else None
    if not isinstance(index, int) or index < 0:
        return None
    return Row(int(node.args[1]) % len(shape(source)), index)  # type: ignore[arg-type]  # select's second is a number


def _operand_rows(node: fx.Node, row: Row) -> dict[fx.Node, Row | None] | None:
    """What a node needs of each operand to give one row of its result (None: all of it); None if it cannot give one
    alone."""
    sources: dict[fx.Node, Row | None] = dict.fromkeys(node.all_input_nodes)
    if node.target in POINTWISE:
        return {source: _broadcast(node, source, row) for source in sources}
    first: Any = node.args[0]
    if node.target is aten.gather.default and first is not node.args[2]:
        return _rows_of_gather(node, row)
    its = _first_operands_row(node, first, row)
    return None if its is None or first in node.args[1:] else sources | {first: its}


def _first_operands_row(node: fx.Node, first: fx.Node, row: Row) -> Row | None:
    """The row of the first operand that gives a row of the result, where that is all of it that is needed."""
    target, last, given = node.target, len(shape(node)) - 1, list(node.args)
    if target is aten.permute.default:
        dims: Any = given[1]
        return Row(dims[row.axis] % (last + 1), row.index)
    if target is aten.reshape.default:
        axis = _axis_before(node, first, row.axis)
        return None if axis is None else Row(axis, row.index)
    if target is aten.expand.default:
        return _broadcast(node, first, row)
    along_last = target in ALONG_LAST or (target is aten.softmax.int and given[1] in (-1, last))
    product = target in PRODUCTS and row.axis == last - 1 and len(shape(first)) == last + 1
    return row if (along_last and row.axis < last) or product else None


def _rows_of_gather(node: fx.Node, row: Row) -> dict[fx.Node, Row | None] | None:
    """Along the last axis: its own row of the source and of the index, or of the index alone if the row is of that
    axis."""
    source, dim, index = node.args[:3]
    assert isinstance(source, fx.Node) and isinstance(index, fx.Node)
    last = len(shape(node)) - 1
    if dim not in (-1, last) or not same(shape(source)[:-1], shape(node)[:-1]):
        return None
    return {source: row if row.axis < last else None, index: row}


def _broadcast(node: fx.Node, source: fx.Node, row: Row) -> Row | None:
    """The row of an operand that may have fewer axes, or one row for all."""
    if not is_tensor(source):
        return None
    axis = row.axis - (len(shape(node)) - len(shape(source)))
    return Row(axis, row.index) if axis >= 0 and same([shape(source)[axis]], [shape(node)[row.axis]]) else None


def _axis_before(node: fx.Node, source: fx.Node, axis: int) -> int | None:
    """The axis of a reshape's source that is an axis of its result, kept whole."""
    after = shape(node)
    for before, size in enumerate(shape(source)):
        if same([size], [after[axis]]) and same([_count(shape(source)[:before])], [_count(after[:axis])]):
            return before
    return None


def _count(sizes: tuple[Size, ...]) -> Size:
    product: Size = 1
    for size in sizes:
        product = product * size
    return product


def _cut(module: fx.GraphModule, node: fx.Node, wanted: dict[fx.Node, Row], cut: dict[fx.Node, fx.Node]) -> fx.Node:
    """The node computed for its row alone, axis and all: [batch, 1, width]."""
    row, needed = wanted[node], _operand_rows(node, wanted[node])
    assert needed is not None

    def operand(source: fx.Node) -> fx.Node:
        its = needed[source]
        if its is None or source in cut:
            return source if its is None else cut[source]
        return call(module, node, aten.slice.Tensor, source, its.axis, its.index, its.index + 1)

    args: Any
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), operand)
    if node.target in (aten.reshape.default, aten.expand.default):
        args = (args[0], [1 if axis == row.axis else size for axis, size in enumerate(args[1])])
    return call(module, node, node.target, *args, **kwargs)
