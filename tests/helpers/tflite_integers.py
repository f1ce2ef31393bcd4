"""The quantized weights of a .tflite, read back from its bytes."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palmtop.compress.quantization import grid
from palmtop.compress.quantization.fake_quantized import Rounding

Array = np.ndarray[Any, np.dtype[Any]]
INT4 = 17
"""TensorType.INT4 of the schema."""
KINDS = {7: "EMBEDDING_LOOKUP", 9: "FULLY_CONNECTED"}
"""BuiltinOperator of the schema."""


@dataclass(frozen=True)
class Stored:
    """A weight of a linear layer or a table."""

    name: str
    bits: int
    integers: Array
    scales: Array
    """One for each row; empty where blocks have scales of their own."""
    zero_points: Array


def stored(file: Path) -> list[Stored]:
    """Every quantized constant of two axes."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    model = read_model(str(file))
    found = {}
    for tensor in model.subgraphs[0].tensors:
        data, quantization = model.buffers[tensor.buffer].data, tensor.quantization
        if (
            data is None
            or not len(data)
            or quantization is None
            or (quantization.scale is None and quantization.details is None)
        ):
            continue
        whole = np.frombuffer(bytes(data), np.int8)
        if tensor.type == INT4:
            whole = np.stack([(whole << 4) >> 4, whole >> 4], -1).reshape(-1)[: np.prod(tensor.shape)]
        empty = np.empty(0)
        found[tensor.buffer] = Stored(
            tensor.name.decode(),
            4 if tensor.type == INT4 else 8,
            whole.reshape(tensor.shape),
            empty if quantization.scale is None else np.asarray(quantization.scale),
            empty if quantization.zeroPoint is None else np.asarray(quantization.zeroPoint),
        )
    return list(found.values())


def differing(model: Any, chosen: dict[str, Rounding], file: Path) -> tuple[list[str], list[str]]:
    """Modules whose grid no tensor of the file has, and tensors that no module has.

    The same: bits, every integer, zero points 0, and scales but for one factor (an export may take 1/sqrt(width of a
    head) into a query). A table of zeros may be left out of the file.
    """
    tensors = {index: tensor for index, tensor in enumerate(stored(file))}
    used, lacking = set(), []
    for name, rounding in chosen.items():
        weight = model.get_submodule(name).weight.detach()
        integers = grid.integers(weight, rounding.bits, rounding.block).numpy()
        scales = grid.scales(weight, rounding.bits, rounding.block).numpy()
        same = {
            index
            for index, tensor in tensors.items()
            if tensor.bits == rounding.bits and _same(tensor, integers, scales, rounding)
        }
        used |= same
        lacking += [name] if not same and integers.any() else []
    return lacking, [tensor.name for index, tensor in tensors.items() if index not in used]


def _same(tensor: Stored, integers: Array, scales: Array, rounding: Rounding) -> bool:
    if not np.array_equal(tensor.integers, integers) or tensor.zero_points.any():
        return False
    return rounding.block is not None or np.allclose(
        tensor.scales / scales[:, 0], tensor.scales[0] / scales[0, 0], rtol=1e-6, atol=0
    )


def quantize_as_planned(source: Path, model: Any, chosen: dict[str, Rounding], out: Path) -> None:
    """Quantize a float file with each weight at the bits and blocks of the module that it is most like."""
    from ai_edge_quantizer.qtyping import QuantGranularity
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope, get_tensor_data, read_model

    opened, recipe = read_model(str(source)), RecipeManager()
    for graph in opened.subgraphs:
        for operator in graph.operators:
            kind = KINDS.get(opened.operatorCodes[operator.opcodeIndex].builtinCode)
            found = get_tensor_data(graph.tensors[operator.inputs[1]], opened.buffers) if kind else None
            if found is not None:
                rounding = chosen[_likest(found, model, chosen)]
                block = QuantGranularity[f"BLOCKWISE_{rounding.block}" if rounding.block else "CHANNELWISE"]
                recipe.add_dynamic_config(
                    f"^{re.escape(get_op_scope(operator, graph.tensors))}$", kind, rounding.bits, block
                )
    made = Quantizer(str(source), recipe.get_quantization_recipe()).quantize(
        enable_progress_bar=False, enable_progress_report=False
    )
    made.export_model(str(out), overwrite=True)


def _likest(weight: Array, model: Any, chosen: dict[str, Rounding]) -> str:
    """The module whose weight points the same way."""
    flat, likeness = weight.reshape(-1).astype(np.float64), {}
    for name in chosen:
        other = model.get_submodule(name).weight.detach().numpy()
        if other.shape == weight.shape:
            likeness[name] = float(flat @ other.reshape(-1)) / (float(np.linalg.norm(other)) + 1e-12)
    return max(likeness, key=lambda name: likeness[name])


def torch_logits(
    folder: Path, batches: list[dict[str, torch.Tensor]], chosen: dict[str, Rounding], activations: bool
) -> Array:
    """Answers of the training graph: the float weights in `folder` rounded as they were in training."""
    from palmtop.compress.quantization.fake_quantized import round_in_training
    from palmtop.models.opening import open_classifier

    model = open_classifier(folder)
    round_in_training(model, chosen, activations)
    model.eval()
    with torch.inference_mode():
        return np.concatenate([model(**batch).logits.numpy() for batch in batches])
