"""Matrix products of ATen in TensorFlow.js: linear layers as fused products, attention as batched ones."""

from typing import Any

import torch
from torch import Tensor, fx

from palmtop.export.tfjs_model.aten_call import Call, Lowering
from palmtop.export.tfjs_model.graph import Graph, Operand, Value

aten = torch.ops.aten

MATRIX = 2
"""The rank of a matrix."""
MATRIX_ARGUMENTS: dict[object, str] = {
    aten.linear.default: "weight",
    aten.addmm.default: "mat2",
    aten.mm.default: "mat2",
    aten.matmul.default: "other",
}
"""Where an operator takes the matrix that may be stored in the product's own order."""


def linear(graph: Graph, call: Call) -> str:
    """x W^T + b."""
    weight = call["weight"]
    right, transposed = graph.matrix(weight.mT) if isinstance(weight, Tensor) else (weight.name, True)
    return _product(graph, call, call["input"], (right, transposed), call["bias"])


def addmm(graph: Graph, call: Call) -> str:
    """b + x W, without factors."""
    if call["beta"] != 1 or call["alpha"] != 1 or len(call["self"].shape) != 1:
        raise call.refuse("with factors, or with a bias that isn't a vector")
    return _product(graph, call, call["mat1"], _right(graph, call["mat2"]), call["self"])


def relu(graph: Graph, call: Call) -> str:
    """Nothing, where the linear layer before it has done it."""
    source = call.source("self")
    fused = source is not None and source.target in (aten.linear.default, aten.addmm.default) and _feeds_relu(source)
    return graph.operand(call["self"]) if fused else graph.op("Relu", call["self"])


def matmul(left_name: str, right_name: str) -> Lowering:
    """matmul, mm and bmm. A transposed operand is read in place; a matrix on the right makes it a linear layer."""

    def lower(graph: Graph, call: Call) -> str:
        left, right = call[left_name], call[right_name]
        if min(len(left.shape), len(right.shape)) < MATRIX:
            raise call.refuse("with a vector")
        if len(right.shape) == MATRIX:
            return _product(graph, call, left, _right(graph, right), None)
        (x, adj_x), (y, adj_y) = _untransposed(call, left_name), _untransposed(call, right_name)
        return graph.op("BatchMatMulV2", x, y, attributes={"adj_x": adj_x, "adj_y": adj_y, "T": torch.float32})

    return lower


def _product(
    graph: Graph, call: Call, left: Value | Tensor, right: tuple[str, bool], bias: Value | Tensor | None
) -> str:
    """left @ right (+ bias) on rank 2, the only rank that the runtime's fast kernel takes."""
    matrix, transposed = right
    flat = len(left.shape) == MATRIX
    rows = graph.operand(left) if flat else graph.reshape(left, [-1, *graph.sizes(left)[-1:]])
    flags: dict[str, Any] = {"transpose_a": False, "transpose_b": transposed, "T": torch.float32}
    after = ["Relu"] if _feeds_relu(call.node) and call.node.target in (aten.linear.default, aten.addmm.default) else []
    if bias is None:
        result = graph.op("MatMul", rows, matrix, attributes=flags)
        result = graph.op("Relu", result) if after else result
    else:
        result = graph.op(
            "_FusedMatMul", rows, matrix, bias, attributes={**flags, "num_args": 1, "fused_ops": ["BiasAdd", *after]}
        )
    return result if flat else graph.reshape(result, [*graph.sizes(left)[:-1], int(call.shape[-1])])


def _feeds_relu(node: fx.Node) -> bool:
    return [user.target for user in node.users] == [aten.relu.default]


def _right(graph: Graph, matrix: Value | Tensor) -> tuple[str, bool]:
    return graph.matrix(matrix) if isinstance(matrix, Tensor) else (matrix.name, False)


def _untransposed(call: Call, name: str) -> tuple[Operand, bool]:
    """An operand of a product, and whether the product is to read it transposed."""
    value, source = call[name], call.source(name)
    last = len(value.shape) - 1
    if not isinstance(value, Value) or source is None or source.target is not aten.permute.default:
        return value, False
    permute = Call.of(source, call.known)
    swap = [*range(last - 1), last, last - 1]
    return (permute["self"], True) if [dim % (last + 1) for dim in permute["dims"]] == swap else (value, False)
