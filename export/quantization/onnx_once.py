"""ONNX files that hold each number once: equal tensors joined, and products with shared weights in a form that
quantizers read right."""

from collections import Counter
from typing import Any

MATRIX = 2
"""The rank of a matrix."""


def join_equal(model: Any) -> int:
    """Let every tensor of a model that equals another in type, shape and bytes be that other, in place; returns how
    many went.

    torch's exporter writes the weights of a layer once for each use in some graphs, and quantizers do so with what they
    make of them.
    """
    from onnx import TensorProto
    from onnx.numpy_helper import to_array

    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    other: dict[str, str] = {}
    for tensor in list(model.graph.initializer):
        if tensor.data_type == TensorProto.INT8 and len(tensor.dims) < MATRIX:
            # zero points: where ONNX Runtime turns int8 weights into uint8, two products with one zero point fail
            continue
        kept = first.setdefault((tensor.data_type, tuple(tensor.dims), to_array(tensor).tobytes()), tensor.name)
        if kept != tensor.name:
            other[tensor.name] = kept
            model.graph.initializer.remove(tensor)
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = other.get(name, name)
    return len(other)


def split_shared_products(model: Any) -> int:
    """x W^T + b of a weight that several nodes read becomes a product with W^T, stored so, and a sum; returns how many
    were split.

    ONNX Runtime's quantizer turns such a node around by turning its weight, which "is not used by any other node" as it
    says: a weight of two nodes would be turned twice.
    """
    from onnx.helper import get_node_attr_value, make_node

    uses = Counter(name for node in model.graph.node for name in node.input)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    split = [
        node
        for node in model.graph.node
        if node.op_type == "Gemm" and node.input[1] in weights and uses[node.input[1]] > 1
    ]
    for node in split:
        given = {name: get_node_attr_value(node, name) for name in (attribute.name for attribute in node.attribute)}
        if (
            given.get("transA", 0)
            or given.get("alpha", 1.0) != 1.0
            or given.get("beta", 1.0) != 1.0
            or not given.get("transB", 0)
        ):
            raise RuntimeError(f"{node.name} is no linear layer as torch writes it")
        product, rest = node.output[0], list(node.input[2:])
        made = [
            make_node(
                "MatMul",
                [node.input[0], _turned(model, weights, node.input[1])],
                [f"{product}_product" if rest else product],
                node.name,
            )
        ]
        made[0].metadata_props.extend(node.metadata_props)
        if rest:
            made.append(make_node("Add", [f"{product}_product", *rest], [product], f"{node.name}_sum"))
        place = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        for one in reversed(made):
            model.graph.node.insert(place, one)
    _drop_unread(model)
    return len(split)


def _turned(model: Any, weights: dict[str, Any], name: str) -> str:
    """The name of a weight's transposed, stored beside it the first time."""
    from onnx.numpy_helper import from_array, to_array

    turned = f"{name}_turned"
    if turned not in weights:
        weights[turned] = from_array(to_array(weights[name]).T.copy(), turned)
        model.graph.initializer.append(weights[turned])
    return turned


def _drop_unread(model: Any) -> None:
    read = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    for tensor in list(model.graph.initializer):
        if tensor.name not in read:
            model.graph.initializer.remove(tensor)
