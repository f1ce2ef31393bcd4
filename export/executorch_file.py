"""The .pte file: a program lowered for ExecuTorch with XNNPACK, and the matrices that are stored in one."""

import importlib.resources
import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from palmtop.export.stored_once import MATRIX, Stored

if TYPE_CHECKING:
    from torch.export import ExportedProgram

FILE = "model.pte"
PROGRAM = "program.pt2"
"""The graph that the file was lowered from, beside it: 'quantize' starts from it. No app fetches it, and it counts in
no size."""
SCHEMA = "schema.fbs"
UNBOUNDED = re.compile(r"(: )-?(?:inf|nan)\b")
"""What is no JSON: the bounds of an activation that has none, a ReLU's upper one."""
BY_NUMBER = {1: np.int8, 3: np.int32, 4: np.int64, 6: np.float32}
"""torch's numbers of types, as the program has them."""
BY_NAME = {"fp32": np.float32, "qcint8": np.int8, "qint8": np.int8, "qint32": np.int32, "qcint32": np.int32}
"""XNNPACK's names of them."""


def write(program: "ExportedProgram", file: Path) -> dict[str, int]:
    """Lower a program into a file; returns into how many parts for XNNPACK, and how many operators its own kernels run
    between them."""
    from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS, GeluConfig
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class ExactGelu(GeluConfig):  # type: ignore[misc]  # executorch is untyped where it isn't installed
        """XNNPACK has the exact GELU alone, and takes the one by tanh (ALBERT's) for it in silence."""

        def check_constraints(self, node: Any, ep: Any) -> bool:
            return node.kwargs.get("approximate", "none") == "none" and bool(super().check_constraints(node, ep))

    _part_from_others(program)
    configs = [ExactGelu if config is GeluConfig else config for config in ALL_PARTITIONER_CONFIGS]
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner(configs=configs)])
    calls = [node.name for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
    parts = sum(name.startswith("executorch_call_delegate") for name in calls)
    between = sum(not name.startswith(("executorch_call_delegate", "getitem", "sym_size")) for name in calls)
    with file.open("wb") as out:
        lowered.to_executorch().write_to_file(out)
    return {"xnnpack_parts": parts, "operators_between": between}


def _part_from_others(program: "ExportedProgram") -> None:
    """Give every constant a storage of its own: executorch 1.5 writes a constant's bytes from the start of its storage,
    so a part of a larger tensor (one group of a grouped convolution) would get the first part's values, in silence."""
    import torch

    for constants in (program.state_dict, program.constants):
        for name, tensor in constants.items():
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().nbytes() != tensor.nbytes:
                own = tensor.detach().clone(memory_format=torch.contiguous_format)
                weight = isinstance(tensor, torch.nn.Parameter)
                constants[name] = torch.nn.Parameter(own, requires_grad=False) if weight else own


def matrices(folder: Path) -> Iterator[Stored]:
    """The matrices of a .pte: constants of the program, and those that its parts for XNNPACK share by name."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    file = deserialize_pte_binary((folder / FILE).read_bytes())
    (plan,) = file.program.execution_plan
    for value in plan.values:
        tensor: Any = value.val
        number = getattr(tensor, "data_buffer_idx", 0)
        if number and len(tensor.sizes) == MATRIX:
            content = bytes(file.program.constant_buffer[number].storage)
            yield _stored(number, f"constant {number}", BY_NUMBER[int(tensor.scalar_type)], tensor.sizes, content)
    named = {key: file.named_data.buffers[entry.buffer_index] for key, entry in file.named_data.pte_data.items()}
    for delegate in plan.delegates:
        graph = _graph(bytes(file.program.backend_delegate_data[delegate.processed.index].data))
        for value in graph["xvalues"]:
            tensor = value["xvalue_union"].get("tensor_value", value["xvalue_union"])
            key = graph["constant_data"][tensor["constant_buffer_idx"]]["named_key"]
            if key and tensor["num_dims"] == MATRIX:
                kind = BY_NAME[tensor["datatype"].removeprefix("xnn_datatype_")]
                yield _stored(key, key[:16], kind, tensor["dims"], bytes(named[key]))


def _stored(place: int | str, name: str, kind: Any, shape: Any, content: bytes) -> Stored:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize  # what lies behind it is padding
    values = np.frombuffer(content[:size], kind).reshape(shape)
    return Stored(place, name, str(values.dtype), tuple(shape), content[:size], values)


def _graph(payload: bytes) -> dict[str, Any]:
    """A part for XNNPACK as JSON."""
    from executorch.backends.xnnpack import serialization
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _flatc_decompile

    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    start = header.flatbuffer_offset
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / SCHEMA).write_bytes(importlib.resources.files(serialization).joinpath(SCHEMA).read_bytes())
        (folder / "part.bin").write_bytes(payload[start : start + header.flatbuffer_size])
        _flatc_decompile(name, str(folder / SCHEMA), str(folder / "part.bin"))
        text = (folder / "part.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(UNBOUNDED.sub(r"\1null", text))
    return found
