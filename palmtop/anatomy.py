"""Anatomy: what a model's files are made of, in the same words for every format: stored numbers, tensors, operators."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MOST_LOOKED_AT = 2**16
"""Larger tensors aren't searched for their peak: masks and other constants of a graph are smaller."""

SIGNED = ("float16", "float32", "float64", "int8", "int16", "int32", "int64")
"""Numbers of which a stored 0 is zero: integers are quantized symmetrically where they are signed."""


@dataclass(frozen=True)
class Stored:
    """The numbers of a tensor as they lie in a file. Several tensors may share them."""

    size_bytes: int
    digest: str
    peak: float | None = None
    """The largest absolute value, infinity included; of small float constants only."""
    outside: bool = False
    """Whether they lie behind the flatbuffer, found by offset."""
    nonzeros: int | None = None
    """How many of them are not zero; None where a stored 0 needn't mean zero (unsigned integers with a zero point)."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph, or a weight of a file without a graph."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    """None in it: known when the model runs; None for it: the format doesn't say."""
    stored: str | None = None
    """The key of its numbers; None for one that is computed."""
    scales: int = 0
    """Quantization scales that it carries."""

    @property
    def numbers(self) -> int:
        """How many numbers it has, as far as its sizes are known."""
        return int(np.prod([size or 1 for size in self.shape or ()]))


@dataclass(frozen=True)
class Operator:
    """An operator of the graph."""

    name: str
    version: int | None
    """The operator's version (.tflite), or that of its set (ONNX)."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    custom: bool = False
    """Whether no runtime has it built in."""


@dataclass(frozen=True)
class Anatomy:
    """A model taken apart."""

    format: str
    size_bytes: int
    """All files of the model."""
    stored: dict[str, Stored]
    tensors: dict[str, Tensor]
    operators: tuple[Operator, ...]
    """Inputs before their users; none for a bundle of weights."""
    scale_bytes: int = 0
    """Quantization scales and zero points that lie inside the graph."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What only one format has: `shards`, `per_tensor_uint8`."""

    def shown(self, key: str) -> str:
        """A tensor as it is named to a reader: without the path of modules before it."""
        tensor = self.tensors[key]
        sizes = (
            ""
            if tensor.shape is None
            else "[" + ", ".join("?" if size is None else str(size) for size in tensor.shape) + "]"
        )
        return f"{tensor.name.rsplit('/', 1)[-1].rsplit(';', 1)[0]} {tensor.dtype} {sizes}".strip()

    def users(self) -> Iterator[tuple[str, Tensor]]:
        """The tensors that show stored numbers, each stretch of numbers once."""
        seen: set[str] = set()
        for key, tensor in self.tensors.items():
            if tensor.stored is not None and tensor.stored not in seen:
                seen.add(tensor.stored)
                yield key, tensor


def stored(raw: bytes | memoryview, dtype: str, outside: bool = False) -> Stored:
    """The numbers of `raw` bytes; of a small float constant with its peak."""
    content = memoryview(raw)
    peak = None
    if dtype in ("float32", "float16", "float64") and 0 < len(content) <= MOST_LOOKED_AT * np.dtype(dtype).itemsize:
        values = np.abs(np.frombuffer(content, dtype).astype(np.float64))
        peak = float("inf") if np.isnan(values).any() else float(values.max())
    return Stored(len(content), hashlib.sha256(content).hexdigest(), peak, outside, _nonzeros(content, dtype))


def _nonzeros(content: memoryview, dtype: str) -> int | None:
    if dtype == "int4":  # two in a byte
        halves = np.frombuffer(content, np.uint8)
        return int(np.count_nonzero(halves & 0x0F) + np.count_nonzero(halves & 0xF0))
    if dtype == "bfloat16":  # all but the sign, for -0 is zero
        return int(np.count_nonzero(np.frombuffer(content, np.uint16) & 0x7FFF))
    return int(np.count_nonzero(np.frombuffer(content, dtype))) if dtype in SIGNED else None
