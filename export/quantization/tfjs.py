"""TensorFlow.js models with int8 matrices, one scale for each output, and the loader that widens them when the page
opens."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export.quantization.int8_rows import int8_rows
from palmtop.export.quantization.quantizable import Calibration, Quantizable
from palmtop.export.tfjs_model.weights import write_content

MODEL, LOADER = "model.json", "int8_rows.js"
BYTES = {"float32": 4, "int32": 4, "bool": 1}
PRODUCTS = ("MatMul", "_FusedMatMul")
MATRIX = 2
"""Axes of one."""


@dataclass(frozen=True)
class TfjsFile(Quantizable):
    """A float32 graph model."""

    folder: Path

    @classmethod
    def of(cls, source: Bundle, scheme: str, calibration: Calibration | None) -> Self:
        """The graph model of a bundle; there is one scheme."""
        return cls(source.path)

    @property
    def files(self) -> frozenset[str]:
        """The graph and its shards."""
        return frozenset({MODEL, LOADER, *(path.name for path in self.folder.glob("*.bin"))})

    @property
    def kept_as(self) -> str:
        """Matrices are int8 or as they were."""
        return "float32"

    def layers(self) -> list[str]:
        """Matrices by the name of their constant in the graph, with shape."""
        return list(self._matrices)

    def write(self, out: Path, kept: Sequence[str]) -> None:
        """Write model.json, the shards, and the loader beside them."""
        chosen = {name for layer, name in self._matrices.items() if layer not in kept}
        entries, chunks = [], []
        for entry in self._entries:
            content = self._content[entry["name"]]
            if entry["name"] in chosen:
                axis = self._output_axis(entry["name"])
                entries.append(
                    {**entry, "quantization": {"dtype": "int8_rows", "original_dtype": "float32", "axis": axis}}
                )
                chunks.append(_rows(np.frombuffer(content, np.float32).reshape(entry["shape"]), axis))
            else:
                entries.append(entry)
                chunks.append(content)
        for shard in out.glob("*.bin"):
            shard.unlink()
        manifest = [{"paths": write_content(b"".join(chunks), out), "weights": entries}]
        (out / MODEL).write_text(
            json.dumps({**self._model, "weightsManifest": manifest}, allow_nan=False), encoding="utf-8"
        )
        shutil.copyfile(target.for_format("tfjs").client_files()[f"runtime/{LOADER}"], out / LOADER)

    def facts(self, out: Path) -> dict[str, Any]:
        """Bytes of the weights as downloaded, and the file that a page imports to load them."""
        return {
            "weight_bytes": sum(path.stat().st_size for path in out.glob("*.bin")),
            "shards": len(list(out.glob("*.bin"))),
            "loader": LOADER,
        }

    @cached_property
    def _model(self) -> dict[str, Any]:
        model: dict[str, Any] = json.loads((self.folder / MODEL).read_text(encoding="utf-8"))
        return model

    @property
    def _entries(self) -> list[dict[str, Any]]:
        return [entry for group in self._model["weightsManifest"] for entry in group["weights"]]

    @cached_property
    def _content(self) -> Mapping[str, bytes]:
        """Every weight's bytes, by name."""
        stored = b"".join(
            (self.folder / path).read_bytes() for group in self._model["weightsManifest"] for path in group["paths"]
        )
        content, at = {}, 0
        for entry in self._entries:
            if "quantization" in entry:
                raise UserError(
                    f"{self.folder}: {entry['name']} is {entry['quantization']['dtype']} already: quantize the "
                    "float32 model"
                )
            length = int(np.prod(entry["shape"], dtype=np.int64)) * BYTES[entry["dtype"]]
            content[entry["name"]] = stored[at : at + length]
            at += length
        return content

    @cached_property
    def _matrices(self) -> dict[str, str]:
        """Constants' names by what they are called here."""
        floats = [entry for entry in self._entries if entry["dtype"] == "float32"]
        found = [entry for entry in floats if len(entry["shape"]) == MATRIX and min(entry["shape"]) > 1]
        return {f"{entry['name']} {'x'.join(map(str, entry['shape']))}": entry["name"] for entry in found}

    def _output_axis(self, name: str) -> int:
        """Which axis of a matrix runs over outputs: the columns of a right side [inner, outer], the rows of anything
        else."""
        nodes = [node for node in self._model["modelTopology"]["node"] if name in node.get("input", ())]
        plain = [
            node["op"] in PRODUCTS and node["input"][1] == name and not node["attr"].get("transpose_b", {}).get("b")
            for node in nodes
        ]
        return int(bool(plain) and all(plain))


def _rows(matrix: Float32[ndarray, "rows columns"], axis: int) -> bytes:
    """The integers in the matrix' own order, then the scales."""
    integers, scales = int8_rows(matrix if axis == 0 else matrix.T)
    return np.ascontiguousarray(integers if axis == 0 else integers.T).tobytes() + scales.tobytes()
