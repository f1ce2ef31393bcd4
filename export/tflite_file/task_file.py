"""A .tflite as the Task clients want it: three inputs, every buffer inside the FlatBuffer, metadata, files packed at
its end."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.errors import UserError
from palmtop.export.tflite_file.old_runtimes import mark, refused
from palmtop.export.tflite_file.packing import pack, parse, weights_of
from palmtop.export.tflite_file.task_metadata import TENSORS, About

METADATA = b"TFLITE_METADATA"
"""The name under which readers look for the metadata's buffer."""


Describe = Callable[[About, tuple[str, ...], tuple[str, ...]], bytes]
"""What makes the metadata, of our names of the inputs and the outputs in the graph's order: a `classifier` or a
`reader`."""


def write_task_file(
    source: Path, out: Path, about: About, describe: Describe, files: Mapping[str, bytes]
) -> str | None:
    """Write the model in `source` with metadata and `files` to `out`; the weights stay byte for byte what they are.

    ai-edge-quantizer keeps weights behind the FlatBuffer, where a writer that packs it anew loses them without a word:
    here they are brought inside first.

    Returns:
        why old runtimes refuse the file; None where they answer.

    Raises:
        UserError: several signatures, or inputs other than the three the clients know.
    """
    model = parse(source.read_bytes())
    before = weights_of(model)
    inputs = _three_inputs(model, source)
    mark(model)
    _attach(model, describe(about, inputs, _outputs(model)))
    content = pack(model)
    if weights_of(parse(content))[: len(before)] != before:
        raise RuntimeError(f"weights of {source} were lost on the way to {out}")
    out.write_bytes(content)
    _append(out, files)
    return refused(model)


def _three_inputs(model: Any, source: Path) -> tuple[str, ...]:
    """Our names of the graph's inputs in its order, after a dummy was added for each that the model does without."""
    if len(model.subgraphs) != 1 or len(model.signatureDefs or ()) != 1:
        raise UserError(
            f"{source} has {len(model.signatureDefs or ())} signatures, the Task clients open a file with one: export "
            "it again with one length"
        )
    graph, [signature] = model.subgraphs[0], model.signatureDefs
    named = {int(entry.tensorIndex): entry.name.decode() for entry in signature.inputs}
    if not set(named.values()) <= set(TENSORS):
        raise UserError(
            f"{source} takes {', '.join(named.values())}, the Task clients give {', '.join(TENSORS)}: export it again"
        )
    for name in TENSORS:
        if name not in named.values():
            named[_dummy(model, name)] = name
    return tuple(named[int(index)] for index in graph.inputs)


def _outputs(model: Any) -> tuple[str, ...]:
    graph, [signature] = model.subgraphs[0], model.signatureDefs
    named = {int(entry.tensorIndex): entry.name.decode() for entry in signature.outputs}
    return tuple(named[int(index)] for index in graph.outputs)


def _dummy(model: Any, name: str) -> int:
    """Add an input that nothing reads, shaped as the others; returns its number."""
    from ai_edge_litert import schema_py_generated as schema

    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    like = graph.tensors[int(graph.inputs[0])]
    number = len(graph.tensors)
    graph.tensors.append(
        schema.TensorT(
            name=f"serving_default_{name}".encode(),
            shape=list(like.shape),
            shapeSignature=like.shapeSignature,
            type=like.type,
            buffer=0,
        )
    )
    graph.inputs = [*graph.inputs, number]
    signature.inputs.append(schema.TensorMapT(name=name.encode(), tensorIndex=number))
    return number


def _attach(model: Any, content: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    others = [entry for entry in model.metadata or [] if entry.name != METADATA]
    model.metadata = [*others, schema.MetadataT(name=METADATA, buffer=len(model.buffers))]
    model.buffers.append(schema.BufferT(data=np.frombuffer(content, np.uint8)))


def _append(path: Path, files: Mapping[str, bytes]) -> None:
    """Add `files` as a zip behind the FlatBuffer, where the clients look for them; stored, and without a date."""
    with zipfile.ZipFile(path, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
