"""The layers of a .tflite that hold weights: what identifies each, over all lengths of the file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPERATORS = ("FULLY_CONNECTED", "EMBEDDING_LOOKUP")
"""Operators whose weights are quantized: on text encoders they hold all that is large."""


@dataclass(frozen=True)
class Layer:
    """One set of weights and the operators that read it, in whatever signature."""

    name: str
    """Module path in the torch model as far as the converter left it, and the weights' shape."""
    operator: str
    scopes: tuple[str, ...]
    """Names of the operators' outputs: by these, and by nothing else, the quantizer tells operators apart."""
    shape: tuple[int, ...]
    """Of its weights: outputs (or tokens), width."""


def layers(file: Path) -> list[Layer]:
    """The layers in the order in which they are first used. Weights are told apart by their buffer, which all lengths
    share."""
    model = read(file)
    found: dict[int, tuple[str, str, list[int], list[str]]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            kind = _kind(model, operator)
            weights = graph.tensors[operator.inputs[1]] if kind in OPERATORS else None
            if weights is None or not is_constant(model, weights):
                continue
            scope = scope_of(operator, graph)
            name = module_of(scope) or module_of(text(weights.name))
            found.setdefault(weights.buffer, (kind, name, list(weights.shape), []))[3].append(scope)
    return _told_apart(
        [
            (kind, f"{name or kind.lower()} {'x'.join(map(str, shape))}", shape, scopes)
            for kind, name, shape, scopes in found.values()
        ]
    )


def read(file: Path) -> Any:
    """The model's tables, weights included."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    return read_model(str(file))


def is_constant(model: Any, tensor: Any) -> bool:
    """Whether a tensor's numbers stand in the file."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def scope_of(operator: Any, graph: Any) -> str:
    """What the quantizer's patterns are matched against."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import get_op_scope

    return str(get_op_scope(operator, graph.tensors))


def module_of(scope: str) -> str:
    """'pkg.Model/pkg.Encoder_encoder/pkg.Layer_0/torch.nn.Linear_query;' -> 'encoder.0.query'."""
    paths = [re.findall(r"\.[A-Za-z0-9]+_(\w+)(?=[/;]|$)", path) for path in scope.split(";;")]
    paths.sort(key=len, reverse=True)
    return ".".join(paths[0]) if paths else ""


def kinds(model: Any, graph: Any) -> list[str]:
    """Each operator's kind, in running order."""
    return [_kind(model, operator) for operator in graph.operators]


def text(name: Any) -> str:
    """A name in the file, as text."""
    return name.decode() if isinstance(name, bytes) else str(name)


def _kind(model: Any, operator: Any) -> str:
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import TFL_OP_CODE_TO_NAME

    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    return str(TFL_OP_CODE_TO_NAME[code].value) if code in TFL_OP_CODE_TO_NAME else f"builtin {code}"


def _told_apart(found: list[tuple[str, str, list[int], list[str]]]) -> list[Layer]:
    """Names made unique with a number, where the converter merged modules."""
    named: list[Layer] = []
    for kind, name, shape, scopes in found:
        before = sum(layer.name.split(" #")[0] == name for layer in named)
        named.append(
            Layer(
                f"{name} #{before + 1}" if before else name, kind, tuple(dict.fromkeys(scopes)), tuple(map(int, shape))
            )
        )
    return named
