"""A model that writes as one ONNX file, by the names and axes that transformers.js and ONNX Runtime GenAI know."""

import shutil
from pathlib import Path
from typing import Any

from palmtop.bundle import Bundle
from palmtop.signature import PAST, PRESENT, STEP, Graph, Signature, Tensor

BESIDE = ("config.json", "generation_config.json")
"""What those clients read besides the tokenizer."""


def write(source: Bundle, file: Path) -> Signature:
    """Write the file; returns its signature."""
    import torch

    from palmtop.export.graph.steps import GrowingSteps
    from palmtop.models.opening import open_with_head

    model = open_with_head(source.path)
    steps, graph = GrowingSteps(model).eval(), _graph(model)
    arguments, sizes = _example(model)
    with torch.no_grad():
        program = torch.export.export(steps, (), arguments, dynamic_shapes=sizes, strict=False)
    torch.onnx.export(
        program,
        (),
        str(file),
        input_names=[tensor.name for tensor in graph.inputs],
        output_names=[tensor.name for tensor in graph.outputs],
        external_data=False,
        verbose=False,
    )
    count_texts_by_ids(file)
    for name in BESIDE:
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, file.parent / name)
    return source.signature.model_copy(update={"inputs": (), "other_graphs": {STEP: graph}})


def count_texts_by_ids(file: Path) -> int:
    """Let every node that takes the number of texts from a cache take it from the ids, and return how many did:
    transformers.js' first, empty cache has no text either."""
    import onnx

    model, changed = onnx.load(str(file)), 0
    for node in model.graph.node:
        first = {attribute.name: attribute.i for attribute in node.attribute} == {"start": 0, "end": 1}
        if node.op_type == "Shape" and first and node.input[0].startswith(PAST):
            node.input[0] = "input_ids"
            changed += 1
    onnx.save(model, str(file))
    return changed


def _graph(model: Any) -> Graph:
    from palmtop.export.graph.steps import growing_tensors

    plain = {"input_ids": "tokens", "attention_mask": "past + tokens", "position_ids": "tokens"}
    inputs = tuple(Tensor(name=name, dtype="int64", axes=("batch", tokens)) for name, tokens in plain.items())
    logits = Tensor(name="logits", dtype="float32", axes=("batch", "tokens", int(model.config.vocab_size)))
    return Graph(
        inputs=(*inputs, *growing_tensors(model, PAST, "past")),
        outputs=(logits, *growing_tensors(model, PRESENT, "past + tokens")),
    )


def _example(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arguments of `GrowingSteps` to trace with, and which of their axes are open."""
    import torch

    from palmtop.export.graph.steps import HALVES, growing_tensors

    batch, past, tokens, open_axis = 3, 4, 5, torch.export.Dim.AUTO
    heads, size = (int(axis) for axis in growing_tensors(model, PAST, "past")[0].axes[1::2])
    layers = range(model.config.num_hidden_layers)
    arguments = {
        "input_ids": torch.full((batch, tokens), 5),
        "attention_mask": torch.ones(batch, past + tokens, dtype=torch.int64),
        "position_ids": torch.arange(past, past + tokens).expand(batch, tokens).contiguous(),
        "pasts": [[torch.randn(batch, heads, past, size) for _ in HALVES] for _ in layers],
    }
    both = {0: open_axis, 1: open_axis}
    sizes = {name: both for name in arguments} | {
        "pasts": [[{0: open_axis, 2: open_axis} for _ in HALVES] for _ in layers]
    }
    return arguments, sizes
