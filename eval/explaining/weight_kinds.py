"""What a model's bytes are for: embeddings, attention, feed-forward, head, norms, scales, other constants, and the
graph itself.

A file's own names of tensors come and go with converters, so a weight of a graph is told by what is done with it; in a
torch bundle, which has no graph, by its name.
"""

import re

from palmtop.anatomy import Anatomy, Operator, Tensor
from palmtop.eval.explaining.graph_flow import Flow

KINDS = ("embeddings", "attention", "feed-forward", "head", "norms", "scales", "other", "graph")
"""other: constants that are no weights of the transformer; graph: the rest of the files, names and structure."""

NAMES = {
    "norms": r"norm",
    "head": r"^(classifier|pre_classifier|dense|score|qa_outputs)\b|\bpooler\b",
    "embeddings": r"embed",
    "attention": r"attention|attn",
    "feed-forward": r"intermediate|output|ffn|\blin[12]\b|bottleneck|mlp",
}
"""Parts of the names of a Hugging Face model's weights; the first that fits decides."""
SCALING = {
    "DequantizeLinear",
    "QuantizeLinear",
    "MatMulInteger",
    "QLinearMatMul",
    "DynamicQuantizeLinear",
    "MatMulNBits",
}
"""Operators of ONNX that take scales and zero points as operands after the numbers."""


def kinds(anatomy: Anatomy, flow: Flow) -> dict[str, str]:
    """The kind of each stretch of stored numbers, by its key."""
    if not anatomy.operators:
        return {
            tensor.stored: _by_name(tensor.name) for tensor in anatomy.tensors.values() if tensor.stored is not None
        }
    return {key: "other" for key in anatomy.stored} | _by_use(anatomy, flow)


def bytes_by_kind(anatomy: Anatomy, found: dict[str, str]) -> dict[str, int]:
    """Bytes of each kind. They add up to the size of the files."""
    sums = dict.fromkeys(KINDS, 0) | {"scales": anatomy.scale_bytes}
    for key, kind in found.items():
        sums[kind] += anatomy.stored[key].size_bytes
    return sums | {"graph": anatomy.size_bytes - sum(sums.values())}


def _by_name(name: str) -> str:
    return next((kind for kind, part in NAMES.items() if re.search(part, name, re.IGNORECASE)), "other")


def _by_use(anatomy: Anatomy, flow: Flow) -> dict[str, str]:
    """Tables first, then matrices and norms, then what is added and multiplied: tied numbers belong to the first
    use."""
    shown = {tensor.stored: tensor for tensor in anatomy.tensors.values() if tensor.stored is not None}
    found: dict[str, str] = {}
    roles = [(operator, flow.role(operator)) for operator in anatomy.operators if flow.computed_inputs(operator)]
    for wanted in (("lookup",), ("linear", "norm"), ("", "attend")):
        for operator, role in roles:
            if role in wanted:
                kind = kind_of(flow, operator)
                for name in flow.fixed_inputs(operator):
                    found |= {
                        key: kind for key in flow.fixed[name] if key not in found and _is_weight(shown[key], role)
                    }
    return found | {key: "scales" for key in _scales(anatomy) if anatomy.format == "onnx"}


def kind_of(flow: Flow, operator: Operator) -> str:
    """The kind of the numbers that an operator takes."""
    role = flow.role(operator)
    if role == "linear":
        return _kind_of_linear(flow, operator)
    if role:
        return {"lookup": "embeddings", "norm": "norms", "attend": "attention"}[role]
    near = flow.nearest(operator, flow.above) or flow.nearest(operator, flow.below)
    if any(flow.role(other) == "norm" for other in near):  # as near as the layer before it, whose sum the norm takes
        return "norms"
    return kind_of(flow, near[0]) if near else "other"


def _kind_of_linear(flow: Flow, operator: Operator) -> str:
    """By what is around it: products of activations next to it, and whether anything is added or normalized after
    it."""
    near = [
        *flow.reached(operator, flow.below, ("linear", "attend")),
        *flow.reached(operator, flow.above, ("linear", "attend")),
    ]
    if any(flow.role(other) == "attend" for other in near):
        return "attention"
    if not any(flow.joins(other) or flow.role(other) == "norm" for other in flow.reached(operator, flow.below)):
        return "head"
    before = any(flow.role(other) == "attend" for other in flow.reached(operator, flow.above))
    return "feed-forward" if before else "embeddings"


def _is_weight(tensor: Tensor, role: str) -> bool:
    """Not sizes, indices, or single numbers such as a norm's epsilon; int32 is a bias where a product takes it."""
    if tensor.dtype in ("int64", "bool") or (tensor.dtype == "int32" and role != "linear"):
        return False
    return tensor.numbers > 1


def _scales(anatomy: Anatomy) -> list[str]:
    places = {
        tensor.stored
        for operator in anatomy.operators
        if operator.name in SCALING
        for name in operator.inputs
        if (tensor := anatomy.tensors[name]).stored is not None and len(tensor.shape or ()) <= 1
    }
    return [key for key in places if key is not None]
