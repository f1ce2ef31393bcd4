"""A TensorFlow.js graph model taken apart: model.json, its manifest and the shards that it names."""

import json
import math
from pathlib import Path
from typing import Any

from palmtop.anatomy import Anatomy, Operator, Stored, Tensor, stored
from palmtop.errors import UserError

FILE = "model.json"
BYTES = {"float32": 4, "float16": 2, "int32": 4, "bool": 1, "uint8": 1, "int8": 1, "uint16": 2}
INT8_ROWS = "int8_rows"
"""Our own int8: one float32 scale for each row, behind the matrix."""
SCALE_BYTES = 4
KINDS = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_BOOL": "bool", "DT_STRING": "string"}


def read(folder: Path) -> Anatomy:
    """Take a graph model apart.

    Raises:
        UserError: model.json or a shard is missing, or it isn't a graph model.
    """
    path = folder / FILE
    try:
        model = json.loads(path.read_text(encoding="utf-8"))
        nodes, manifest = model["modelTopology"]["node"], model["weightsManifest"]
        raw = [b"".join((folder / shard).read_bytes() for shard in group["paths"]) for group in manifest]
    except FileNotFoundError as error:
        raise UserError(f"there is no {error.filename}: export the bundle again") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} isn't a TensorFlow.js graph model: export the bundle again") from None
    held: dict[str, Stored] = {}
    tensors = {
        name: tensor
        for group, content in zip(manifest, raw, strict=True)
        for name, tensor in _weights(group, content, held)
    }
    tensors |= {node["name"]: _computed(node) for node in nodes if node["name"] not in tensors}
    operators = tuple(
        Operator(node["op"], None, tuple(map(_plain, node.get("input", ()))), (node["name"],))
        for node in nodes
        if node["op"] not in ("Const", "Placeholder", "NoOp")
    )
    entries = [entry for group in manifest for entry in group["weights"]]
    notes = {
        "shards": sum(len(group["paths"]) for group in manifest),
        "per_tensor_uint8": [
            entry["name"] for entry in entries if entry.get("quantization", {}).get("dtype") in ("uint8", "uint16")
        ],
    }
    scale_bytes = SCALE_BYTES * sum(tensor.scales for tensor in tensors.values())
    return Anatomy("tfjs", path.stat().st_size + sum(map(len, raw)), held, tensors, operators, scale_bytes, notes)


def _weights(group: Any, raw: bytes, held: dict[str, Stored]) -> list[tuple[str, Tensor]]:
    """The weights of a manifest's group, one after another in its bytes; after int8 rows the scale of each."""
    found, place, view = [], 0, memoryview(raw)
    for entry in group["weights"]:
        quantization = entry.get("quantization", {})
        rows = quantization.get("dtype") == INT8_ROWS
        dtype = "int8" if rows else quantization.get("dtype", entry["dtype"])
        size, scales = BYTES[dtype] * math.prod(entry["shape"]), entry["shape"][quantization["axis"]] if rows else 0
        held[entry["name"]] = stored(view[place : place + size], dtype)
        found.append((entry["name"], Tensor(entry["name"], dtype, tuple(entry["shape"]), entry["name"], scales)))
        place += size + SCALE_BYTES * scales
    return found


def _computed(node: Any) -> Tensor:
    attributes = node.get("attr", {})
    sizes = attributes.get("shape", {}).get("shape", {}).get("dim") if node["op"] == "Placeholder" else None
    kind = next(
        (attributes[name]["type"] for name in ("dtype", "DstT", "T") if "type" in attributes.get(name, {})), "DT_FLOAT"
    )
    shape = None if sizes is None else tuple(None if int(size["size"]) < 0 else int(size["size"]) for size in sizes)
    return Tensor(node["name"], KINDS.get(kind, str(kind)), shape)


def _plain(name: str) -> str:
    """A node's name without '^' (an order only) and ':0' (its first output)."""
    return name.removeprefix("^").split(":")[0]
