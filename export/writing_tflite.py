"""A model that writes as one .tflite: graphs that read a prompt at some lengths, and one that reads a token more, over
one set of weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.bundle import Bundle
from palmtop.signature import PAST, PREFILL, PRESENT, STEP, Graph, Signature, Tensor

if TYPE_CHECKING:
    import torch

    from palmtop.export.graph.steps import StaticSteps

LEAST_PREFILL, USUAL_PREFILL = 2, 32
"""Tokens that a prompt is read by where nobody says otherwise: a longer one is read in parts of so many."""


def write(source: Bundle, prefills: tuple[int, ...], slots: int, file: Path) -> tuple[Signature, dict[str, int]]:
    """Write the file; returns its signature, and what the passes over its last graph did.

    Args:
        prefills: tokens of each graph that reads a prompt, ascending.
        slots: tokens that the cache holds.
    """
    import litert_torch

    from palmtop.export.graph.passes import clean_steps
    from palmtop.export.graph.steps import StaticSteps
    from palmtop.models.opening import open_with_head

    model = open_with_head(source.path)
    steps, graphs = StaticSteps(model).eval(), _graphs(model, prefills, slots)
    converter: Any = litert_torch
    facts: dict[str, int] = {}
    for name, graph in graphs.items():
        inputs = _example(graph)
        module, facts = clean_steps(_traced(steps, inputs))
        converter = converter.signature(name, module, sample_kwargs=inputs)
    file.write_bytes(converter.convert().model_content())  # its own writer ends the process where the disk is full
    signature = source.signature.model_copy(update={"inputs": (), "max_length": slots, "other_graphs": graphs})
    return signature, facts


def _graphs(model: Any, prefills: tuple[int, ...], slots: int) -> dict[str, Graph]:
    from palmtop.export.graph.steps import static_tensors

    logits = Tensor(name="logits", dtype="float32", axes=(1, int(model.config.vocab_size)))
    outputs = (logits, *static_tensors(model, slots, PRESENT))
    start, last = (Tensor(name=name, dtype="int32", axes=(1,)) for name in ("start", "last"))
    made: dict[str, Graph] = {}
    for tokens in (*prefills, 1):
        ids = Tensor(name="input_ids", dtype="int32", axes=(1, tokens))
        known = (ids, start) if tokens == 1 else (ids, start, last)
        name = STEP if tokens == 1 else f"{PREFILL}{tokens}"
        made[name] = Graph(inputs=(*known, *static_tensors(model, slots, PAST)), outputs=outputs)
    return made


def _example(graph: Graph) -> "dict[str, torch.Tensor]":
    import torch

    types = {"int32": torch.int32, "float32": torch.float32}
    return {tensor.name: torch.zeros(tensor.shape, dtype=types[tensor.dtype]) for tensor in graph.inputs}


def _traced(steps: "StaticSteps", inputs: "dict[str, torch.Tensor]") -> "torch.export.ExportedProgram":
    import torch

    with torch.no_grad():
        return torch.export.export(steps, (), inputs, strict=False)
