"""Whether a file holds each weight once: however often a layer is used, at however many lengths, float or quantized."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from palmtop import format as file_format
from palmtop.bundle import Format
from palmtop.errors import UserError
from palmtop.formats.read_onnx import file_in

LEAST_BYTES = 1024
"""Smaller tensors are no weights worth sharing: biases of zeros, scales, shapes are equal by chance."""
MATRIX = 2
"""Axes of one."""


@dataclass(frozen=True)
class Stored:
    """A matrix as a file holds it."""

    place: Hashable
    """Where its bytes lie: two tensors of the same place are stored once."""
    name: str
    dtype: str
    shape: tuple[int, ...]
    content: bytes
    values: "ndarray[Any, Any] | None"
    """Its numbers, by which a transposed copy is known; None where bytes are packed."""


def check(form: Format, folder: Path) -> dict[str, Any]:
    """Facts of a file's matrices: how many are stored, and their bytes.

    Raises:
        RuntimeError: a matrix stands in the file twice, as it is or transposed: an export lost the sharing.
        UserError: a format that holds no matrices as such.
    """
    found: dict[str, dict[Hashable, Stored]] = defaultdict(dict)
    for matrix in matrices(form, folder):
        if len(matrix.content) >= LEAST_BYTES and not _is_one_number(matrix):
            found[_fingerprint(matrix)].setdefault(matrix.place, matrix)
    copies = [list(places.values()) for places in found.values() if len(places) > 1]
    if copies:
        names = "; ".join(
            " = ".join(f"{one.name} {'x'.join(map(str, one.shape))}" for one in group[:3]) for group in copies[:3]
        )
        extra = sum(len(one.content) for group in copies for one in group[1:])
        raise RuntimeError(
            f"the {form} file holds {len(copies)} matrices more than once ({extra} bytes too many): {names}"
        )
    kept = [next(iter(places.values())) for places in found.values()]
    return {"stored_matrices": len(kept), "stored_matrix_bytes": sum(len(one.content) for one in kept)}


def matrices(form: Format, folder: Path) -> Iterator[Stored]:
    """The matrices stored in a bundle's files.

    Raises:
        UserError: a format that holds no matrices as such.
    """
    lists = file_format.find(form).matrices
    if lists is None:
        held = ", ".join(each.name for each in file_format.every() if each.matrices)
        raise UserError(f"a {form} bundle isn't a file of matrices; such are {held}")
    found: Iterator[Stored] = file_format.called(lists)(folder)
    return found


def _fingerprint(matrix: Stored) -> str:
    """Equal for a matrix and its transposed."""
    ways = [(matrix.shape, matrix.content)]
    if matrix.values is not None:
        ways.append((matrix.shape[::-1], np.ascontiguousarray(matrix.values.T).tobytes()))
    return min(f"{matrix.dtype} {shape} {hashlib.sha256(content).hexdigest()}" for shape, content in ways)


def _is_one_number(matrix: Stored) -> bool:
    return matrix.content == matrix.content[:4] * (len(matrix.content) // 4)


def in_tflite(folder: Path) -> Iterator[Stored]:
    """The matrices of all signatures of a .tflite."""
    from palmtop.export.tflite_file.layers import read, text

    model = read(folder / "model.tflite")
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) and tensor.shape is not None and len(tensor.shape) == MATRIX:
                shape, content = tuple(map(int, tensor.shape)), bytes(data)
                size, rest = divmod(len(content), int(np.prod(shape)))
                kind = {1: np.int8, 2: np.float16, 4: np.float32}.get(size) if not rest else None
                values = None if kind is None else np.frombuffer(content, kind).reshape(shape)
                yield Stored(tensor.buffer, text(tensor.name), str(tensor.type), shape, content, values)


def in_onnx(folder: Path) -> Iterator[Stored]:
    """Initializers and constants of an ONNX file."""
    import onnx
    from onnx.numpy_helper import to_array

    model = onnx.load(str(file_in(folder)))
    for number, tensor in enumerate(_tensors(model)):
        if len(tensor.dims) == MATRIX:
            values = to_array(tensor)
            yield Stored(number, str(tensor.name), str(values.dtype), values.shape, values.tobytes(), values)


def _tensors(model: Any) -> Iterator[Any]:
    """Stored tensors, those inside constants among them."""
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (
            attribute.t for attribute in node.attribute if attribute.name == "value" and attribute.HasField("t")
        )


def in_tfjs(folder: Path) -> Iterator[Stored]:
    """The weights of a graph model's shards."""
    manifest = json.loads((folder / "model.json").read_text(encoding="utf-8"))["weightsManifest"]
    stored = b"".join((folder / path).read_bytes() for group in manifest for path in group["paths"])
    at = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        kind, shape = entry.get("quantization", {}).get("dtype", entry["dtype"]), tuple(entry["shape"])
        size = {"float16": 2, "int8_rows": 1, "bool": 1}.get(kind, 4)
        length, scales = (
            size * int(np.prod(shape, dtype=np.int64)),
            4 * shape[entry["quantization"]["axis"]] if kind == "int8_rows" else 0,
        )
        content = stored[at : at + length]
        at += length + scales
        if len(shape) == MATRIX:
            values = np.frombuffer(content, {1: np.int8, 2: np.float16, 4: np.float32}[size]).reshape(shape)
            yield Stored(entry["name"], entry["name"], kind, shape, content, values)
