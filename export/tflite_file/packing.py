"""Read and write a .tflite as a whole: every buffer inside the FlatBuffer and aligned, equal vectors stored once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

ALIGNMENT = 16
"""Where a buffer's bytes start; the schema says so, for vector instructions."""
IDENTIFIER = b"TFL3"


def parse(content: bytes) -> Any:
    """The model's tables (a ModelT), weights included, also those that a quantizer keeps behind the FlatBuffer."""
    from ai_edge_litert.tools.flatbuffer_utils import read_model_from_bytearray

    return read_model_from_bytearray(content)


def pack(model: Any) -> bytes:
    """The file of a ModelT.

    Every length of a file has tensors of its own over the same weights, each with the scales and zero points of all
    rows: written as the tables have them, they would be a tenth of an int8 file of four lengths. FlatBuffers lets
    tables point to one vector.
    """
    weights = [None if buffer.data is None else np.frombuffer(buffer.data, np.uint8) for buffer in model.buffers]
    model.buffers = [_Buffer(data) for data in weights]
    builder = _Sharing(sum(data.nbytes for data in weights if data is not None) + 2**20)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def weights_of(model: Any) -> list[bytes]:
    """The bytes of every buffer that has some."""
    return [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None]


def repack(file: Path, change: Callable[[Any], None]) -> None:
    """Write a file anew in place, after a change to its tables; its weights stay byte for byte what they are."""
    model = parse(file.read_bytes())
    before = weights_of(model)
    change(model)
    packed = pack(model)
    if weights_of(parse(packed)) != before:
        raise RuntimeError(f"weights of {file} were lost while it was packed")
    file.write_bytes(packed)


class _Sharing(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers is untyped
    """A builder that hands out the place of an equal vector of numbers, where it wrote one before."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Any) -> int:  # the base class's name
        """The place of a vector."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = super().CreateNumpyVector(x)
        return self._written[key]


class _Buffer:
    """A buffer that packs itself aligned, which the generated code doesn't."""

    def __init__(self, data: "np.ndarray[Any, np.dtype[np.uint8]] | None") -> None:
        self._data = data

    def Pack(self, builder: Any) -> int:  # the generated code's name
        """Write the bytes and the table that points to them."""
        place = None
        if self._data is not None:
            builder.StartVector(1, len(self._data), ALIGNMENT)
            start = builder.head - len(self._data)
            builder.Bytes[start : builder.head] = self._data.tobytes()
            builder.head = start
            place = builder.EndVector()
        builder.StartObject(3)
        if place is not None:
            builder.PrependUOffsetTRelativeSlot(0, place, 0)
        return int(builder.EndObject())
