"""ATen's views, slices, copies and look-ups in TensorFlow.js."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from palmtop.export.tfjs_model.aten_call import Call, typed
from palmtop.export.tfjs_model.graph import Graph, Operand, Size, Value

END = 2**31 - 1
"""Slices to the end end at least here (torch writes 2^63 - 1)."""


def same(graph: Graph, call: Call) -> str:
    """Operators that change nothing the runtime can see: clone, alias, detach."""
    return graph.operand(call["self"])


def to_copy(graph: Graph, call: Call) -> str:
    """A change of type."""
    return typed(graph, call["self"], call.dtype)


def size(graph: Graph, call: Call) -> str:
    """One size, as an int32 scalar."""
    return graph.operand(graph.size(call["self"], call["dim"]))


def view(graph: Graph, call: Call) -> str:
    """view, reshape."""
    return graph.reshape(call["self"], call["size"] if "size" in call.arguments else call["shape"])


def unsqueeze(graph: Graph, call: Call) -> str:
    """One more axis."""
    return graph.op("ExpandDims", call["self"], call["dim"])


def squeeze(graph: Graph, call: Call) -> str:
    """Without the named axes, those of them that are 1."""
    shape = call["self"].shape
    dims = [call["dim"]] if isinstance(call["dim"], int) else call["dim"]
    gone = sorted(dim % len(shape) for dim in dims if isinstance(shape[dim], int) and shape[dim] == 1)
    return graph.op("Squeeze", call["self"], attributes={"squeeze_dims": gone}) if gone else graph.operand(call["self"])


def permute(graph: Graph, call: Call) -> str:
    """Axes in another order."""
    rank = len(call["self"].shape)
    return graph.op("Transpose", call["self"], graph.ints([dim % rank for dim in call["dims"]]))


def expand(graph: Graph, call: Call) -> str:
    """Copies along axes of size 1; nothing where no size changes."""
    value, wanted = call["self"], call["size"]
    if tuple(value.shape) == call.shape:
        return graph.operand(value)
    new = len(wanted) - len(value.shape)
    sizes: list[Size] = [graph.size(value, axis - new) if size == -1 else size for axis, size in enumerate(wanted)]
    return graph.op("BroadcastTo", value, graph.shape(sizes))


def repeat(graph: Graph, call: Call) -> str:
    """Copies side by side; the new axes come first."""
    value: Operand = call["self"]
    for _ in range(len(call["repeats"]) - len(call["self"].shape)):
        value = graph.op("ExpandDims", value, 0)
    return graph.op("Tile", value, graph.shape(call["repeats"]))


def select(graph: Graph, call: Call) -> str:
    """One index of an axis, without the axis."""
    rank, value, index = len(call["self"].shape), call["self"], call["index"]
    axis = call["dim"] % rank
    if not isinstance(index, int):
        return graph.op("GatherV2", value, index, axis, attributes={"batch_dims": 0})
    begin = [0] * rank
    begin[axis] = index
    if index < 0:
        raise call.refuse("counting from the end")
    rows = graph.op("Slice", value, graph.ints(begin), graph.ints([1 if dim == axis else -1 for dim in range(rank)]))
    return graph.op("Squeeze", rows, attributes={"squeeze_dims": [axis]})


def slice_axis(graph: Graph, call: Call) -> str:
    """A stretch of one axis, every `step`-th of it."""
    value: Value | Tensor = call["self"]
    axis = call["dim"] % len(value.shape)
    start, end = (
        _from_start(graph, value, axis, call[name], default) for name, default in (("start", 0), ("end", END))
    )
    if call["step"] != 1:
        rows = graph.op("Range", start, end, call["step"], attributes={"Tidx": torch.int32})
        return graph.op("GatherV2", value, rows, axis, attributes={"batch_dims": 0})
    begin: list[Size] = [start if dim == axis else 0 for dim in range(len(value.shape))]
    sizes: list[Size] = [_difference(graph, end, start) if dim == axis else -1 for dim in range(len(value.shape))]
    return graph.op("Slice", value, graph.shape(begin), graph.shape(sizes))


def _from_start(graph: Graph, value: Value | Tensor, axis: int, index: int | Value | None, default: int) -> Size:
    """A slice's bound counted from the start and not beyond the end."""
    index = default if index is None else index
    if isinstance(index, Value):  # torch.export has proved that a symbolic bound lies inside
        return index
    size = graph.size(value, axis)
    if isinstance(size, int):
        return max(0, index + size) if index < 0 else min(index, size)
    if 0 <= index < END:  # inside by the trace's own guards
        return index
    return size if index >= END else Value(graph.op("AddV2", size, index), torch.int32, ())


def _difference(graph: Graph, end: Size, start: Size) -> Size:
    if isinstance(start, int) and (isinstance(end, int) or start == 0):
        return end - start if isinstance(end, int) else end
    return Value(graph.op("Sub", end, start), torch.int32, ())


def pad(graph: Graph, call: Call) -> str:
    """Constants around; torch names the last axis first."""
    rank, around = len(call["self"].shape), call["pad"]
    if not all(isinstance(count, int) and count >= 0 for count in around):
        raise call.refuse("by sizes that are negative or known at run time only")
    pairs = [[0, 0] for _ in range(rank)]
    for index in range(len(around) // 2):
        pairs[rank - 1 - index] = [around[2 * index], around[2 * index + 1]]
    return graph.op(
        "PadV2", call["self"], torch.tensor(pairs, dtype=torch.int32), typed(graph, call["value"], call.dtype)
    )


def cat(graph: Graph, call: Call) -> str:
    """Tensors one after another along an axis."""
    tensors: Sequence[Value | Tensor] = call["tensors"]
    parts = [typed(graph, tensor, call.dtype) for tensor in tensors]
    return graph.op("ConcatV2", *parts, call["dim"] % len(call.shape), attributes={"N": len(parts)})


def embedding(graph: Graph, call: Call) -> str:
    """Rows of a table."""
    return graph.op("GatherV2", call["weight"], call["indices"], 0, attributes={"batch_dims": 0})


def index_select(graph: Graph, call: Call) -> str:
    """Some indices of an axis."""
    return graph.op(
        "GatherV2", call["self"], call["index"], call["dim"] % len(call["self"].shape), attributes={"batch_dims": 0}
    )


def gather(graph: Graph, call: Call) -> str:
    """out[.., i] = self[.., index[.., i]] along the last axis.

    The wasm kernel of TensorFlow.js 4.22 reads wrong rows, without an error, when GatherV2 has batch_dims; so the axes
    are flattened, and each row's start is added to its indices. Leading axes that share one index stay as they are.
    """
    value, last = call["self"], len(call["self"].shape) - 1
    if call["dim"] % (last + 1) != last or tuple(value.shape[:last]) != tuple(call["index"].shape[:last]):
        raise call.refuse("along another axis than the last, or with an index smaller than its source")
    index, shared = _shared_index(call)
    sizes, count = graph.sizes(value), graph.size(index, -1)
    starts = graph.op("Range", 0, _product(graph, sizes[shared:]), sizes[last], attributes={"Tidx": torch.int32})
    rows = graph.op("AddV2", graph.op("Reshape", index, graph.shape([-1, count])), graph.op("ExpandDims", starts, 1))
    flat = graph.op("Reshape", value, graph.shape([*sizes[:shared], -1]))
    found = graph.op("GatherV2", flat, graph.reshape(rows, [-1]), shared, attributes={"batch_dims": 0})
    return graph.op("Reshape", found, graph.shape([*sizes[:last], count]))


def _shared_index(call: Call) -> tuple[Value | Tensor, int]:
    """An index before it was expanded, and how many leading axes share it."""
    source = call.source("index")
    if source is None or source.target is not torch.ops.aten.expand.default or not isinstance(call["index"], Value):
        return call["index"], 0
    base: Value = Call.of(source, call.known)["self"]
    shared = len(call["index"].shape) - len(base.shape)
    return (base, shared) if tuple(base.shape) == tuple(call["index"].shape[shared:]) else (call["index"], 0)


def _product(graph: Graph, sizes: Sequence[Size]) -> Size:
    known = math.prod(size for size in sizes if isinstance(size, int))
    product: Size = known
    for size in sizes:
        if isinstance(size, Value):
            product = size if product == 1 else Value(graph.op("Mul", product, size), torch.int32, ())
    return product
