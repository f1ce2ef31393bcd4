"""The table from ATen operators to what they are in TensorFlow.js, and the element-wise ones and reductions themselves.

Written from the operators' documentation, for the kernels that the runtime's wasm backend has.
"""

import math
import operator

import torch
from torch import Tensor

from palmtop.export.tfjs_model import aten_products as products
from palmtop.export.tfjs_model import aten_shapes as shapes
from palmtop.export.tfjs_model.aten_call import Call, Lowering, typed
from palmtop.export.tfjs_model.graph import Graph, Operand, Value

aten = torch.ops.aten


def _unary(op: str) -> Lowering:
    return lambda graph, call: graph.op(op, typed(graph, call["self"], call.dtype))


def _binary(op: str) -> Lowering:
    return lambda graph, call: graph.op(
        op, typed(graph, call["self"], call.dtype), typed(graph, call["other"], call.dtype)
    )


def _scaled(op: str) -> Lowering:
    """add and sub: self +- alpha * other."""

    def lower(graph: Graph, call: Call) -> str:
        left, right = (typed(graph, call[name], call.dtype) for name in ("self", "other"))
        alpha = call.arguments.get("alpha", 1)
        return graph.op(op, left, right if alpha == 1 else graph.op("Mul", right, typed(graph, alpha, call.dtype)))

    return lower


def _compare(op: str) -> Lowering:
    def lower(graph: Graph, call: Call) -> str:
        dtype = torch.result_type(_example(call["self"]), _example(call["other"]))
        return graph.op(op, typed(graph, call["self"], dtype), typed(graph, call["other"], dtype))

    return lower


def _example(value: Operand) -> Tensor | int | float:
    """Something of the value's type and rank, for torch's rules of promotion."""
    if isinstance(value, Value):
        return torch.empty([1] * len(value.shape), dtype=value.dtype)
    assert not isinstance(value, str)
    return value


def _logical(op: str, *names: str) -> Lowering:
    """Logic; the bitwise operators are translated on bool only."""

    def lower(graph: Graph, call: Call) -> str:
        if call.dtype != torch.bool:
            raise call.refuse("on integers")
        return graph.op(op, *(typed(graph, call[name], torch.bool) for name in names))

    return lower


def _reduce(op: str) -> Lowering:
    def lower(graph: Graph, call: Call) -> str:
        rank = len(call["self"].shape)
        given = call["dim"]
        dims = [given] if isinstance(given, int) else given or range(rank)
        axes = graph.ints([dim % rank for dim in dims])
        return graph.op(op, typed(graph, call["self"], call.dtype), axes, attributes={"keep_dims": call["keepdim"]})

    return lower


def _layer_norm(graph: Graph, call: Call) -> str:
    """Ba et al. 2016 (arXiv:1607.06450), eq. 4, over the last axes, with eps inside the root."""
    value = call["input"]
    axes = graph.ints(range(len(value.shape) - len(call["normalized_shape"]), len(value.shape)))
    keep = {"keep_dims": True}
    centred = graph.op("Sub", value, graph.op("Mean", value, axes, attributes=keep))
    variance = graph.op("Mean", graph.op("Square", centred), axes, attributes=keep)
    result = graph.op("Mul", centred, graph.op("Rsqrt", graph.op("AddV2", variance, float(call["eps"]))))
    result = result if call["weight"] is None else graph.op("Mul", result, call["weight"])
    return result if call["bias"] is None else graph.op("AddV2", result, call["bias"])


def _gelu(graph: Graph, call: Call) -> str:
    """Hendrycks & Gimpel 2016 (arXiv:1606.08415): x Phi(x) by the error function, or their tanh form if the model has
    that."""
    value = call["self"]
    if call["approximate"] == "tanh":
        cube = graph.op("Mul", graph.op("Square", value), value)
        inner = graph.op("AddV2", value, graph.op("Mul", cube, 0.044715))
        gate = graph.op("Tanh", graph.op("Mul", inner, math.sqrt(2 / math.pi)))
    else:
        gate = graph.op("Erf", graph.op("Mul", value, math.sqrt(0.5)))
    return graph.op("Mul", graph.op("Mul", value, 0.5), graph.op("AddV2", gate, 1.0))


def _silu(graph: Graph, call: Call) -> str:
    return graph.op("Mul", call["self"], graph.op("Sigmoid", call["self"]))


def _softmax(graph: Graph, call: Call) -> str:
    rank = len(call["self"].shape)
    if call["dim"] % rank != rank - 1:
        raise call.refuse("along another axis than the last")
    return graph.op("Softmax", typed(graph, call["self"], call.dtype))


def _pow(graph: Graph, call: Call) -> str:
    """Small powers as products: torch computes them so, and the general kernel is slow."""
    value, exponent = typed(graph, call["self"], call.dtype), call["exponent"]
    if exponent == 2:  # noqa: PLR2004  # powers are told by their number
        return graph.op("Square", value)
    if exponent == 3:  # noqa: PLR2004  # the same
        return graph.op("Mul", graph.op("Square", value), value)
    return graph.op("Pow", value, typed(graph, exponent, call.dtype))


def _clamp(graph: Graph, call: Call) -> str:
    result = typed(graph, call["self"], call.dtype)
    if call["min"] is not None:
        result = graph.op("Maximum", result, typed(graph, call["min"], call.dtype))
    return result if call["max"] is None else graph.op("Minimum", result, typed(graph, call["max"], call.dtype))


def _where(graph: Graph, call: Call) -> str:
    return graph.op(
        "SelectV2", call["condition"], typed(graph, call["self"], call.dtype), typed(graph, call["other"], call.dtype)
    )


def _cumsum(graph: Graph, call: Call) -> str:
    axis = call["dim"] % len(call["self"].shape)
    return graph.op(
        "Cumsum", typed(graph, call["self"], call.dtype), axis, attributes={"exclusive": False, "reverse": False}
    )


def _arange(graph: Graph, call: Call) -> str:
    bounds = [typed(graph, call[name], call.dtype) for name in ("start", "end", "step")]
    return graph.op("Range", *bounds, attributes={"Tidx": call.dtype})


def _full(graph: Graph, call: Call) -> str:
    return graph.op(
        "Fill", graph.shape(call["size"]), typed(graph, call["fill_value"], call.dtype), attributes={"T": call.dtype}
    )


def _full_like(graph: Graph, call: Call) -> str:
    value = typed(graph, call["fill_value"], call.dtype)
    return graph.op("Fill", graph.shape(graph.sizes(call["self"])), value, attributes={"T": call.dtype})


LOWERINGS: dict[object, Lowering] = {
    operator.add: _binary("AddV2"),
    operator.sub: _binary("Sub"),
    operator.mul: _binary("Mul"),
    operator.floordiv: _binary("FloorDiv"),
    aten.sym_size.int: shapes.size,
    aten.linear.default: products.linear,
    aten.addmm.default: products.addmm,
    aten.relu.default: products.relu,
    aten.matmul.default: products.matmul("self", "other"),
    aten.bmm.default: products.matmul("self", "mat2"),
    aten.mm.default: products.matmul("self", "mat2"),
    aten.layer_norm.default: _layer_norm,
    aten.gelu.default: _gelu,
    aten.silu.default: _silu,
    aten.softmax.int: _softmax,
    aten._softmax.default: _softmax,
    aten.pow.Tensor_Scalar: _pow,
    aten.clamp.default: _clamp,
    aten.where.self: _where,
    aten.cumsum.default: _cumsum,
    aten.arange.start_step: _arange,
    aten.full.default: _full,
    aten.full_like.default: _full_like,
    aten.add.Tensor: _scaled("AddV2"),
    aten.sub.Tensor: _scaled("Sub"),
    aten.mul.Tensor: _binary("Mul"),
    aten.div.Tensor: _binary("RealDiv"),
    aten.minimum.default: _binary("Minimum"),
    aten.maximum.default: _binary("Maximum"),
    aten.pow.Tensor_Tensor: _binary("Pow"),
    aten.abs.default: _unary("Abs"),
    aten.ceil.default: _unary("Ceil"),
    aten.cos.default: _unary("Cos"),
    aten.erf.default: _unary("Erf"),
    aten.exp.default: _unary("Exp"),
    aten.floor.default: _unary("Floor"),
    aten.log.default: _unary("Log"),
    aten.neg.default: _unary("Neg"),
    aten.reciprocal.default: _unary("Reciprocal"),
    aten.rsqrt.default: _unary("Rsqrt"),
    aten.sigmoid.default: _unary("Sigmoid"),
    aten.sign.default: _unary("Sign"),
    aten.sin.default: _unary("Sin"),
    aten.sqrt.default: _unary("Sqrt"),
    aten.tanh.default: _unary("Tanh"),
    aten.eq.Scalar: _compare("Equal"),
    aten.eq.Tensor: _compare("Equal"),
    aten.ne.Scalar: _compare("NotEqual"),
    aten.ne.Tensor: _compare("NotEqual"),
    aten.lt.Scalar: _compare("Less"),
    aten.lt.Tensor: _compare("Less"),
    aten.le.Scalar: _compare("LessEqual"),
    aten.le.Tensor: _compare("LessEqual"),
    aten.gt.Scalar: _compare("Greater"),
    aten.gt.Tensor: _compare("Greater"),
    aten.ge.Scalar: _compare("GreaterEqual"),
    aten.ge.Tensor: _compare("GreaterEqual"),
    aten.bitwise_and.Tensor: _logical("LogicalAnd", "self", "other"),
    aten.logical_and.default: _logical("LogicalAnd", "self", "other"),
    aten.bitwise_or.Tensor: _logical("LogicalOr", "self", "other"),
    aten.logical_or.default: _logical("LogicalOr", "self", "other"),
    aten.bitwise_not.default: _logical("LogicalNot", "self"),
    aten.logical_not.default: _logical("LogicalNot", "self"),
    aten.mean.dim: _reduce("Mean"),
    aten.sum.dim_IntList: _reduce("Sum"),
    aten.amax.default: _reduce("Max"),
    aten.amin.default: _reduce("Min"),
    aten.alias.default: shapes.same,
    aten.clone.default: shapes.same,
    aten.detach.default: shapes.same,
    aten._to_copy.default: shapes.to_copy,
    aten.view.default: shapes.view,
    aten.reshape.default: shapes.view,
    aten._unsafe_view.default: shapes.view,
    aten.unsqueeze.default: shapes.unsqueeze,
    aten.squeeze.dim: shapes.squeeze,
    aten.squeeze.dims: shapes.squeeze,
    aten.permute.default: shapes.permute,
    aten.expand.default: shapes.expand,
    aten.repeat.default: shapes.repeat,
    aten.select.int: shapes.select,
    aten.slice.Tensor: shapes.slice_axis,
    aten.constant_pad_nd.default: shapes.pad,
    aten.cat.default: shapes.cat,
    aten.embedding.default: shapes.embedding,
    aten.index_select.default: shapes.index_select,
    aten.gather.default: shapes.gather,
}
"""Every operator that is translated; the ones here that torch could take apart are kept whole."""
