"""What is added to a graph of a .tflite: constants, tensors, operators that run before all others."""

from collections.abc import Sequence
from typing import Any

import numpy as np

OPEN = -1
"""A size that is known only when the file runs; of a RESHAPE's, what is left over."""
LARGEST_OLD_CODE = 127
"""Operators beyond it say so in a field of their own; in the old one stands this number."""


class Additions:
    """New tensors of a graph (a SubGraphT) of a model (a ModelT), and operators that its others don't know of."""

    def __init__(self, model: Any, graph: Any) -> None:
        self._model, self._graph = model, graph
        self.operators: list[Any] = []
        """In running order, to be put before the graph's own."""
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], int] = {}

    def constant(self, name: str, value: Any) -> int:
        """The tensor of an int32 or float32 array; equal ones are stored once."""
        from ai_edge_litert import schema_py_generated as schema

        content = np.ascontiguousarray(value).tobytes()
        key = (content, value.dtype.str, value.shape)
        if key not in self._constants:
            self._model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))
            self._constants[key] = self.tensor(name, value.shape, kind_of(value), buffer=len(self._model.buffers) - 1)
        return self._constants[key]

    def integers(self, name: str, *values: int) -> int:
        """The tensor of a vector of int32."""
        return self.constant(name, np.array(values, np.int32))

    def number(self, value: int) -> int:
        """The tensor of one int32."""
        return self.constant("number", np.array(value, np.int32))

    def tensor(self, name: str, shape: Sequence[int], kind: int, *, buffer: int = 0, opened: Sequence[int] = ()) -> int:
        """A tensor of a TensorType.

        Args:
            opened: axes whose size is known only when the file runs.
        """
        from ai_edge_litert import schema_py_generated as schema

        number = len(self._graph.tensors)
        sizes, open_sizes = (np.array(shape, np.int32) for _ in range(2))
        open_sizes[list(opened)] = OPEN
        self._graph.tensors.append(
            schema.TensorT(
                name=f"{name}_{number}".encode(),
                shape=sizes,
                type=kind,
                buffer=buffer,
                shapeSignature=open_sizes if opened else None,
            )
        )
        return number

    def operator(self, name: str, inputs: Sequence[int], output: int, **options: Any) -> None:
        """An operator of a BuiltinOperator's name, with the options that have another value than by default."""
        from ai_edge_litert import schema_py_generated as schema

        self.operators.append(
            schema.OperatorT(
                opcodeIndex=self.code(name), inputs=np.array(inputs, np.int32), outputs=np.array([output], np.int32)
            )
        )
        set_options(self.operators[-1], name, **options)

    def code(self, name: str) -> int:
        """The place of an operator's kind among those of the model."""
        from ai_edge_litert import schema_py_generated as schema

        kind = getattr(schema.BuiltinOperator, name)
        for number, code in enumerate(self._model.operatorCodes):
            if code.builtinCode == kind:
                return number
        old = min(kind, LARGEST_OLD_CODE)
        self._model.operatorCodes.append(schema.OperatorCodeT(builtinCode=kind, deprecatedBuiltinCode=old, version=1))
        return len(self._model.operatorCodes) - 1


def set_options(operator: Any, name: str, **options: Any) -> None:
    """Give an operator the options of a BuiltinOperator's name: those of `options`, the others as by default."""
    from ai_edge_litert import schema_py_generated as schema

    table = "".join(part.capitalize() for part in name.split("_")) + "Options"
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
    operator.builtinOptions = getattr(schema, f"{table}T")()
    for option, value in options.items():
        setattr(operator.builtinOptions, option, value)


def numpy_types() -> "dict[int, type[Any]]":
    """The kinds of numbers that are read and written here, by TensorType."""
    from ai_edge_litert.schema_py_generated import TensorType

    return {TensorType.INT32: np.int32, TensorType.FLOAT32: np.float32}


def kind_of(value: Any) -> int:
    """The TensorType of an array."""
    return next(kind for kind, numbers in numpy_types().items() if numbers == value.dtype)
