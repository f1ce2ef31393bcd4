"""An ONNX file taken apart: initializers, in the file or beside it, and the nodes of its main graph."""

from pathlib import Path
from typing import Any

from palmtop.anatomy import Anatomy, Operator, Stored, Tensor, stored
from palmtop.errors import UserError
from palmtop.formats.onnx import FORMAT

FILE = FORMAT.files[0]
BUILT_IN = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml")
"""The domains whose operators onnxruntime has."""


def file_in(folder: Path) -> Path:
    """The file that answers in a folder: model.onnx, or where another tool has it; model.onnx where there is none."""
    return next((folder / name for name in (FILE, *FORMAT.also_at) if (folder / name).is_file()), folder / FILE)


def read(folder: Path) -> Anatomy:
    """Take the ONNX file of a bundle apart.

    Raises:
        UserError: the file is missing or isn't ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = file_in(folder)
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: export the bundle again")
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise UserError(f"{path} isn't an ONNX file: export the bundle again") from None
    constants = [(tensor.name, tensor) for tensor in model.graph.initializer]
    constants += [
        (node.output[0], attribute.t)
        for node in model.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    tensors = {name: Tensor(name, _dtype(tensor.data_type), tuple(tensor.dims), name) for name, tensor in constants}
    held = {name: _stored(tensor, path.parent, tensors[name].dtype) for name, tensor in constants}
    tensors |= {
        value.name: _value(value)
        for values in (model.graph.input, model.graph.value_info, model.graph.output)
        for value in values
        if value.name not in tensors
    }
    versions = {opset.domain: opset.version for opset in model.opset_import}
    operators = tuple(
        Operator(
            node.op_type,
            versions.get(node.domain),
            _named(node.input),
            _named(node.output),
            node.domain not in BUILT_IN,
        )
        for node in model.graph.node
        if node.op_type != "Constant"
    )
    for name in (name for operator in operators for name in (*operator.inputs, *operator.outputs)):
        tensors.setdefault(name, Tensor(name, "unknown", None))
    return Anatomy("onnx", _size(path), held, tensors, operators)


def _size(file: Path) -> int:
    """Of the file, with weights that lie beside it."""
    beside = (path for pattern in ("*.onnx.data", "*.onnx_data") for path in file.parent.glob(pattern))
    return file.stat().st_size + sum(path.stat().st_size for path in beside)


def _named(names: Any) -> tuple[str, ...]:
    """Without the empty names that stand for inputs left out."""
    return tuple(name for name in names if name)


def _stored(tensor: Any, folder: Path, dtype: str) -> Stored:
    from onnx import numpy_helper

    if tensor.HasField("raw_data"):
        return stored(tensor.raw_data, dtype)
    if tensor.external_data:
        said = {entry.key: entry.value for entry in tensor.external_data}
        with (folder / said["location"]).open("rb") as file:
            file.seek(int(said.get("offset", 0)))
            return stored(file.read(int(said["length"])), dtype)
    content = stored(numpy_helper.to_array(tensor).tobytes(), dtype)
    return Stored(_written_bytes(tensor), content.digest, content.peak, nonzeros=content.nonzeros)


def _written_bytes(tensor: Any) -> int:
    """What a tensor takes whose numbers are written as a field of protobuf, not as raw bytes."""
    size: int = tensor.ByteSize()
    return size


def _dtype(code: int) -> str:
    import onnx

    name: str = onnx.TensorProto.DataType.Name(code).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _value(value: Any) -> Tensor:
    kind = value.type.tensor_type
    sizes = (
        tuple(size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim)
        if kind.HasField("shape")
        else None
    )
    return Tensor(value.name, _dtype(kind.elem_type), sizes)
