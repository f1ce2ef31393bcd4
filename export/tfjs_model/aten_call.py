"""One call of an ATen operator while a traced program is translated: named arguments, types, refusals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import SymInt, Tensor, fx

from palmtop.errors import UserError
from palmtop.export.tfjs_model.graph import Graph, Operand, Value


@dataclass(frozen=True)
class Call:
    """A call: its arguments by their names in the operator's schema, resolved to constants and values of the graph."""

    node: fx.Node
    arguments: Mapping[str, Any]
    known: Mapping[fx.Node, Any]
    """What is translated so far."""

    @classmethod
    def of(cls, node: fx.Node, known: Mapping[fx.Node, Any]) -> "Call":
        """Resolve a node's arguments; one that isn't `known` yet stays a node."""
        schema = getattr(node.target, "_schema", None)  # Python's own operators have none
        names = [argument.name for argument in schema.arguments] if schema else ["self", "other"]
        defaults = {argument.name: argument.default_value for argument in schema.arguments} if schema else {}
        given = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
        return cls(node, {**defaults, **fx.node.map_arg(given, lambda source: known.get(source, source))}, known)

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    @property
    def dtype(self) -> torch.dtype:
        """The result's type."""
        result = self.node.meta["val"]
        return result.dtype if isinstance(result, Tensor) else torch.int32

    @property
    def shape(self) -> tuple[int | SymInt, ...]:
        """The result's sizes."""
        return tuple(self.node.meta["val"].shape)

    def source(self, name: str) -> fx.Node | None:
        """The node behind a tensor argument, None for a constant or an absent one."""
        given = dict(zip(self.arguments, self.node.args, strict=False)).get(name)
        return given if isinstance(given, fx.Node) else None

    def refuse(self, reason: str) -> UserError:
        """The error for a use of the operator that isn't translated."""
        return UserError(
            f"no TensorFlow.js counterpart for {self.node.target} {reason}: export to ONNX or TFLite instead"
        )


Lowering = Callable[[Graph, Call], str]
"""Adds the nodes that do what a call does, and returns the name of the one that gives the result."""


def typed(graph: Graph, value: Operand, dtype: torch.dtype) -> str:
    """An operand of a wanted type."""
    if isinstance(value, Value):
        return graph.cast(value, value.dtype, dtype)
    if isinstance(value, Tensor):
        return graph.constant(value.to(dtype))
    return graph.constant(torch.tensor(value, dtype=dtype))
