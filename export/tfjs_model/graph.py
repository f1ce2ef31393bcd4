"""The GraphDef of a TensorFlow.js graph model while it is being written: nodes, constants stored once, sizes known at
run time."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import SymInt, Tensor

from palmtop.errors import UserError

Node = dict[str, Any]
Attribute = bool | int | torch.dtype | Sequence[str] | Sequence[int]

INT32 = torch.iinfo(torch.int32)
KINDS = {
    torch.float32: "DT_FLOAT",
    torch.int64: "DT_INT32",
    torch.int32: "DT_INT32",
    torch.int16: "DT_INT32",
    torch.int8: "DT_INT32",
    torch.uint8: "DT_INT32",
    torch.bool: "DT_BOOL",
}
STORED = {"DT_FLOAT": torch.float32, "DT_INT32": torch.int32, "DT_BOOL": torch.bool}


@dataclass(frozen=True)
class Value:
    """A tensor that the graph computes: the node that gives it, and torch's view of its type and sizes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | SymInt, ...]


Size = int | Value
"""A size: known now, or an int32 scalar of the graph."""
Operand = str | Value | Tensor | bool | int | float
"""What a node takes: the name of a node, a value, or a constant."""


class Graph:
    """Nodes in running order. An equal node or constant is written once and referred to again."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.weights: dict[str, Tensor] = {}
        self.rows: set[str] = set()
        """Fingerprints of the matrices that something other than a product reads: they are stored as they are."""
        self._names: dict[str, str] = {}
        self._sizes: dict[str, Value] = {}

    def placeholder(self, name: str, tensor: Tensor) -> Value:
        """An input of the model; its unknown sizes become sizes of the graph."""
        value = Value(name, tensor.dtype, tuple(tensor.shape))
        sizes = [{"size": str(size) if isinstance(size, int) else "-1"} for size in tensor.shape]
        attr = {"dtype": {"type": kind(tensor.dtype)}, "shape": {"shape": {"dim": sizes}}}
        self.nodes.append({"name": name, "op": "Placeholder", "attr": attr})
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, SymInt):
                self._sizes.setdefault(str(size), self._size_of(value, axis))
        return value

    def op(
        self, op: str, *inputs: Operand, attributes: Mapping[str, Attribute] | None = None, name: str | None = None
    ) -> str:
        """Add a node, or find the equal one; returns its name."""
        names = [self.operand(value) for value in inputs]
        attr = {key: _attribute(value) for key, value in (attributes or {}).items()}
        key = json.dumps([op, names, attr, name])
        if key not in self._names:
            self._names[key] = name or f"n{len(self.nodes)}"
            self.nodes.append({"name": self._names[key], "op": op, "input": names, "attr": attr})
        return self._names[key]

    def operand(self, value: Operand) -> str:
        """The node that gives `value`; numbers and tensors become constants."""
        if isinstance(value, str):
            return value
        if isinstance(value, Value):
            return value.name
        return self.constant(value if isinstance(value, Tensor) else number(value))

    def constant(self, tensor: Shaped[Tensor, "..."]) -> str:
        """Store a tensor, once however often it is asked for.

        Raises:
            UserError: it isn't finite, or its type or its integers don't fit into TensorFlow.js.
        """
        key = fingerprint(tensor)
        if key not in self._names:
            self._names[key] = f"w{len(self.weights)}"
            self.weights[self._names[key]] = _stored(tensor)
            self.nodes.append(_const(self._names[key], tensor))
        return self._names[key]

    def ints(self, values: Sequence[int]) -> str:
        """A constant list of int32."""
        return self.constant(torch.tensor(list(values), dtype=torch.int32))

    def matrix(self, columns: Shaped[Tensor, "inner outer"]) -> tuple[str, bool]:
        """The right side of a product as (node, transposeB).

        The wasm product is about seven times slower with transposeB, so a matrix is stored [inner, outer], except one
        that an embedding reads too: that one is stored once, as the embedding has it.
        """
        if fingerprint(columns.mT) in self.rows:
            return self.constant(columns.mT), True
        return self.constant(columns), False

    def size(self, value: Value | Tensor, axis: int) -> Size:
        """One size of a tensor."""
        size = value.shape[axis]
        if isinstance(size, int):
            return size
        if str(size) not in self._sizes:
            assert isinstance(value, Value)
            self._sizes[str(size)] = self._size_of(value, axis % len(value.shape))
        return self._sizes[str(size)]

    def sizes(self, value: Value | Tensor) -> list[Size]:
        """All sizes of a tensor."""
        return [self.size(value, axis) for axis in range(len(value.shape))]

    def shape(self, sizes: Sequence[Size]) -> str:
        """Sizes as one int32 tensor [rank]."""
        known = [size for size in sizes if isinstance(size, int)]
        return (
            self.ints(known)
            if len(known) == len(sizes)
            else self.op("Pack", *sizes, attributes={"N": len(sizes), "axis": 0})
        )

    def reshape(self, value: Operand, sizes: Sequence[Size]) -> str:
        """Reshape; a single unknown size is left to the runtime as -1, which spares building the shape."""
        unknown = [axis for axis, size in enumerate(sizes) if isinstance(size, Value)]
        if len(unknown) == 1 and -1 not in sizes:
            sizes = [-1 if axis == unknown[0] else size for axis, size in enumerate(sizes)]
        return self.op("Reshape", value, self.shape(sizes))

    def cast(self, value: Operand, source: torch.dtype, to: torch.dtype) -> str:
        """Change the type, if TensorFlow.js sees a difference."""
        if kind(source) == kind(to):
            return self.operand(value)
        if to == torch.bool:  # the runtime's cast to bool truncates: 0.5 and 256 would be false
            return self.op("NotEqual", value, torch.zeros((), dtype=source))
        return self.op("Cast", value, attributes={"SrcT": source, "DstT": to})

    def prune(self, outputs: Iterable[str]) -> None:
        """Drop the nodes and weights that none of `outputs` needs; inputs stay."""
        needed = set(outputs)
        for node in reversed(self.nodes):
            if node["name"] in needed:
                needed.update(node.get("input", ()))
        self.nodes = [node for node in self.nodes if node["name"] in needed or node["op"] == "Placeholder"]
        self.weights = {name: tensor for name, tensor in self.weights.items() if name in needed}

    def _size_of(self, value: Value, axis: int) -> Value:
        shape = self.op("Shape", value, attributes={"T": value.dtype, "out_type": torch.int32})
        row = self.op("Slice", shape, self.ints([axis]), self.ints([1]))
        return Value(self.op("Reshape", row, self.ints([])), torch.int32, ())


def kind(dtype: torch.dtype) -> str:
    """TensorFlow's name of a type; every integer is int32 there.

    Raises:
        UserError: TensorFlow.js has no such type.
    """
    if dtype not in KINDS:
        raise UserError(f"TensorFlow.js has no type for {dtype}: load the model in float32 and export again")
    return KINDS[dtype]


def number(value: bool | int | float) -> Shaped[Tensor, ""]:
    """A number as a tensor of the type TensorFlow.js would give it."""
    dtype = {bool: torch.bool, int: torch.int32}.get(type(value), torch.float32)
    return torch.tensor(value, dtype=dtype)


def fingerprint(tensor: Shaped[Tensor, "..."]) -> str:
    """Equal for tensors that are stored alike."""
    stored = tensor.detach().to(STORED[kind(tensor.dtype)]).contiguous()
    return f"{stored.dtype} {tuple(stored.shape)} {hashlib.sha256(stored.numpy().tobytes()).hexdigest()}"


def _stored(tensor: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    if tensor.is_floating_point() and not tensor.isfinite().all():
        raise UserError(
            f"a constant {list(tensor.shape)} of the model isn't finite: use a finite mask (such as -1e4), check the "
            "weights"
        )
    if kind(tensor.dtype) == "DT_INT32" and tensor.numel() and (tensor.max() > INT32.max or tensor.min() < INT32.min):
        raise UserError(
            f"an integer constant {list(tensor.shape)} of the model doesn't fit into int32, the only integer of "
            "TensorFlow.js"
        )
    return tensor.detach().to(STORED[kind(tensor.dtype)]).contiguous()


def _const(name: str, tensor: Shaped[Tensor, "..."]) -> Node:
    sizes = [{"size": str(size)} for size in tensor.shape]
    content = {"dtype": kind(tensor.dtype), "tensorShape": {"dim": sizes}}
    return {"name": name, "op": "Const", "attr": {"dtype": {"type": kind(tensor.dtype)}, "value": {"tensor": content}}}


def _attribute(value: Attribute) -> Node:
    if isinstance(value, bool):
        return {"b": value}
    if isinstance(value, int):
        return {"i": str(value)}
    if isinstance(value, torch.dtype):
        return {"type": kind(value)}
    words = [item for item in value if isinstance(item, str)]
    if words:
        return {"list": {"s": [base64.b64encode(word.encode()).decode() for word in words]}}
    return {"list": {"i": [str(item) for item in value]}}
