"""A .tflite taken apart: buffers inside the flatbuffer and behind it, tensors and operators of every signature."""

from pathlib import Path
from typing import Any

from palmtop.anatomy import Anatomy, Operator, Stored, Tensor, stored
from palmtop.errors import UserError

FILE = "model.tflite"
SCALE_BYTES = 4 + 8
"""A scale is a float32, a zero point an int64."""
NO_BUFFER = 1
"""Offsets up to here mean that the numbers are inside: schema.fbs says 'offset from the start of the file, larger than
1'."""


def read(folder: Path) -> Anatomy:
    """Take model.tflite of a bundle apart.

    Raises:
        UserError: the file is missing or isn't a .tflite.
    """
    from ai_edge_litert import schema_py_generated as schema

    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: export the bundle again")
    raw = path.read_bytes()
    if raw[4:8] != b"TFL3":
        raise UserError(f"{path} isn't a .tflite (bytes 4 to 8 are {raw[4:8]!r}): export the bundle again")
    model = schema.Model.GetRootAs(raw, 0)
    types = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    subgraphs = [model.Subgraphs(number) for number in range(model.SubgraphsLength())]
    tensors = {
        key: tensor for number, graph in enumerate(subgraphs) for key, tensor in _tensors(number, graph, model, types)
    }
    buffers = _buffers(
        model, raw, {tensor.stored: tensor.dtype for tensor in tensors.values() if tensor.stored is not None}
    )
    scales = {tensor.stored or key: tensor.scales for key, tensor in tensors.items()}
    operators = [
        operator for number, graph in enumerate(subgraphs) for operator in _operators(number, graph, model, schema)
    ]
    return Anatomy("tflite", len(raw), buffers, tensors, tuple(operators), SCALE_BYTES * sum(scales.values()))


def _tensors(number: int, graph: Any, model: Any, types: dict[int, str]) -> list[tuple[str, Tensor]]:
    found = []
    for index in range(graph.TensorsLength()):
        tensor = graph.Tensors(index)
        buffer = model.Buffers(tensor.Buffer())
        held = buffer.DataLength() or (buffer.Size() if buffer.Offset() > NO_BUFFER else 0)
        sizes = [] if tensor.ShapeIsNone() else tensor.ShapeAsNumpy().tolist()
        if not tensor.ShapeSignatureIsNone():
            sizes = [None if size < 0 else size for size in tensor.ShapeSignatureAsNumpy().tolist()]
        quantization = tensor.Quantization()
        scales = quantization.ScaleLength() if quantization is not None else 0
        found.append(
            (
                f"{number}:{index}",
                Tensor(
                    (tensor.Name() or b"").decode(),
                    types[tensor.Type()],
                    tuple(sizes),
                    str(tensor.Buffer()) if held else None,
                    scales,
                ),
            )
        )
    return found


def _buffers(model: Any, raw: bytes, types: dict[str, str]) -> dict[str, Stored]:
    view, found = memoryview(raw), {}
    for key, dtype in types.items():
        buffer = model.Buffers(int(key))
        if buffer.Offset() > NO_BUFFER:
            found[key] = stored(view[buffer.Offset() : buffer.Offset() + buffer.Size()], dtype, outside=True)
        else:
            found[key] = stored(buffer.DataAsNumpy().data, dtype)
    return found


def _operators(number: int, graph: Any, model: Any, schema: Any) -> list[Operator]:
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        code = model.OperatorCodes(operator.OpcodeIndex())
        builtin = names[
            max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        ]  # old files have the deprecated field only
        custom = builtin == "CUSTOM"
        inputs, outputs = (
            tuple(f"{number}:{place}" for place in places.tolist() if place >= 0)
            for places in (operator.InputsAsNumpy(), operator.OutputsAsNumpy())
        )
        found.append(
            Operator(
                (code.CustomCode() or b"").decode() if custom else builtin, code.Version(), inputs, outputs, custom
            )
        )
    return found
