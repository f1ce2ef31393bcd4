"""Inputs of 64 bits for an ONNX file that computes with 32: a client that feeds int64 alone can open it then."""

from typing import Any


def int64_inputs(model: Any) -> int:
    """Let every int32 input of a ModelProto be int64, with a Cast behind it, in place; returns how many there were.

    Token ids, masks and types fit either, so no answer changes.
    """
    from onnx import AttributeProto, TensorProto
    from onnx.helper import make_node

    nested = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    if any(attribute.type in nested for node in model.graph.node for attribute in node.attribute):
        raise RuntimeError("the file has graphs inside of nodes, which may read its inputs too")
    narrow = [value for value in model.graph.input if value.type.tensor_type.elem_type == TensorProto.INT32]
    cast = {value.name: f"{value.name}_int32" for value in narrow}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = cast.get(name, name)
    for value in reversed(narrow):
        value.type.tensor_type.elem_type = TensorProto.INT64
        made = make_node("Cast", [value.name], [cast[value.name]], f"{value.name}_narrowed", to=TensorProto.INT32)
        model.graph.node.insert(0, made)
    return len(narrow)
