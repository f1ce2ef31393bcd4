"""The .mlpackage: a program converted for Core ML, what it takes and gives, its operators, and the matrices stored in
it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmtop.export.stored_once import MATRIX, Stored
from palmtop.formats.coreml import PACKAGE

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL, WEIGHTS = (
    Path(PACKAGE) / "Data" / "com.apple.CoreML" / name for name in ("model.mlmodel", "weights/weight.bin")
)
TYPES = {10: np.float16, 11: np.float32, 21: np.int8, 23: np.int32, 31: np.uint8}
"""MIL.proto's numbers of types."""
INT32, FLOAT32, FLOAT16 = 0x20000 | 32, 0x10000 | 32, 0x10000 | 16
"""FeatureTypes.proto's numbers of types of inputs and outputs."""
NAMES = {INT32: "int32", FLOAT32: "float32", FLOAT16: "float16"}
SENTINEL = 0xDEADBEEF
"""What stands before each weight's length and place."""


def write(program: "ExportedProgram", out: Path, outputs: Sequence[str], half: bool) -> None:
    """Convert a program, whose inputs keep their names, into a package in the folder `out`."""
    import coremltools

    model = coremltools.convert(
        program.run_decompositions({}),
        outputs=[coremltools.TensorType(name=name) for name in outputs],
        convert_to="mlprogram",
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(out / PACKAGE))


def features(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The inputs and the outputs of a package, by name, with their types."""
    said = _model(folder).description
    inputs, outputs = (
        {one.name: NAMES.get(one.type.multiArrayType.dataType, "unknown") for one in side}
        for side in (said.input, said.output)
    )
    return inputs, outputs


def operators(folder: Path) -> dict[str, int]:
    """How often each operator stands in the program, constants apart; most frequent first."""
    return dict(
        Counter(operation.type for operation in _block(folder).operations if operation.type != "const").most_common()
    )


def matrices(folder: Path) -> Iterator[Stored]:
    """The matrices in a package's file of weights."""
    raw = memoryview((folder / WEIGHTS).read_bytes())
    for operation in _block(folder).operations:
        value = operation.attributes["val"] if operation.type == "const" else None
        if value is None or value.WhichOneof("value") != "blobFileValue":
            continue
        shape = tuple(size.constant.size for size in value.type.tensorType.dimensions)
        if len(shape) == MATRIX:
            place, kind = int(value.blobFileValue.offset), TYPES[value.type.tensorType.dataType]
            content = _content(raw, place)
            yield Stored(
                place,
                operation.outputs[0].name,
                np.dtype(kind).name,
                shape,
                content,
                np.frombuffer(content, kind).reshape(shape),
            )


def _content(weights: memoryview, place: int) -> bytes:
    """The bytes of a weight: at its place stand a mark and its type, 4 bytes each, its length and where it begins, 8
    bytes each."""
    mark, _ = np.frombuffer(weights[place : place + 8], np.uint32)
    length, start = np.frombuffer(weights[place + 8 : place + 24], np.uint64)
    if int(mark) != SENTINEL:
        raise RuntimeError(f"there is no weight at {place} of {WEIGHTS}")
    return bytes(weights[int(start) : int(start) + int(length)])


def _block(folder: Path) -> Any:
    """The program's one block."""
    (block,) = _model(folder).mlProgram.functions["main"].block_specializations.values()
    return block


def _model(folder: Path) -> Any:
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    model.ParseFromString((folder / MODEL).read_bytes())
    return model
