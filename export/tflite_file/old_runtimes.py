"""Old TFLite runtimes and quantized weights: files that they would answer wrongly are marked, so that they refuse them
instead.

ai-edge-quantizer gives each output channel (each row of an embedding) a scale of its own, and leaves the operators'
versions as they were. tflite-support 0.4.4 opens such a file, takes one scale for all channels, and answers with
confidence and wrongly. The versions below are the first that it refuses (measured); LiteRT 2.3.0 and MediaPipe 1.2.2
take them and answer as before.
"""

from typing import Any


def mark(model: Any) -> None:
    """Raise the versions of the operators that read weights with a scale for each channel; `model` is a ModelT."""
    versions = _versions()
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            if code.builtinCode in versions and any(
                _by_channel(graph.tensors[index]) for index in operator.inputs if index >= 0
            ):
                code.version = max(code.version, versions[code.builtinCode])


def refused(model: Any) -> str | None:
    """Why tflite-support 0.4.4 refuses a file that was marked; None where nothing is known that would keep it from
    answering."""
    from ai_edge_litert.schema_py_generated import TensorType

    versions = _versions()
    if any(code.version >= versions.get(code.builtinCode, code.version + 1) for code in model.operatorCodes):
        return "its weights have a scale for each channel"
    types = {tensor.type for graph in model.subgraphs for tensor in graph.tensors}
    return "its weights have fewer than 8 bits" if types & {TensorType.INT4, TensorType.INT2} else None


def _versions() -> dict[int, int]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {BuiltinOperator.FULLY_CONNECTED: 12, BuiltinOperator.EMBEDDING_LOOKUP: 4}


def _by_channel(tensor: Any) -> bool:
    return (
        tensor.quantization is not None and tensor.quantization.scale is not None and len(tensor.quantization.scale) > 1
    )
