"""The weights of a TensorFlow.js model: shards of bytes, and the manifest that says what is in them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

SHARD_BYTES = 4 * 2**20
MOST_SHARDS = 6
"""The runtime's loader waits for all headers before it reads a body: a browser opens six, and a seventh shard hangs."""
LARGEST_FLOAT16 = torch.finfo(torch.float16).max

NAMES = {torch.float32: "float32", torch.int32: "int32", torch.bool: "bool"}


def write_shards(
    weights: Mapping[str, Tensor], out: Path, precision: Literal["float32", "float16"]
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Write `group1-shard<k>of<n>.bin` into `out`: the weights one after another, cut into shards of 4 MB or at most
    six.

    With precision float16, scalars (a norm's epsilon would become 0) and tensors beyond float16's range stay float32.

    Returns:
        the manifest as it stands in model.json, and facts: shards, weight_bytes, float16_values.
    """
    entries, chunks, halved = [], [], 0
    for name, tensor in weights.items():
        half = precision == "float16" and _fits_float16(tensor)
        entries.append(_entry(name, tensor, half))
        chunks.append((tensor.half() if half else tensor).numpy().tobytes())
        halved += tensor.numel() if half else 0
    paths = write_content(b"".join(chunks), out)
    facts = {"shards": len(paths), "weight_bytes": sum(map(len, chunks)), "float16_values": halved}
    return [{"paths": paths, "weights": entries}], facts


def _fits_float16(tensor: Tensor) -> bool:
    return (
        tensor.dtype == torch.float32
        and tensor.dim() > 0
        and tensor.numel() > 0
        and tensor.abs().max().item() <= LARGEST_FLOAT16
    )


def _entry(name: str, tensor: Tensor, half: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "dtype": NAMES[tensor.dtype]}
    return {**entry, "quantization": {"dtype": "float16", "original_dtype": "float32"}} if half else entry


def write_content(content: bytes, out: Path) -> list[str]:
    """Cut the weights' bytes into shards in `out`; returns their names."""
    # every shard but the last is a multiple of 4 bytes long, as the reference converter has it
    size = max(SHARD_BYTES, 4 * math.ceil(len(content) / MOST_SHARDS / 4))
    total = max(1, math.ceil(len(content) / size))
    paths = [f"group1-shard{index + 1}of{total}.bin" for index in range(total)]
    for index, path in enumerate(paths):
        (out / path).write_bytes(content[index * size : (index + 1) * size])
    return paths
