"""How react-native-fast-tflite feeds a .tflite: by the place of each input, at the size that stands in the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmtop.bundle import Bundle
from palmtop.signature import Signature

SPAN_OUTPUTS = ("start_logits", "end_logits")


@dataclass(frozen=True)
class Graph:
    """The one graph of a .tflite, as a client without signatures sees it."""

    inputs: tuple[str, ...]
    """Names of signature.json, in the graph's own order."""
    outputs: tuple[int, ...]
    """Places of the outputs that are wanted, of a span start before end."""
    length: int
    """Tokens that it runs: a file for any number stands at its longest."""


def why_no_graph(source: Bundle) -> str | None:
    """Why react-native-fast-tflite can't run a .tflite rightly; None when it can."""
    signature = source.signature
    if len(signature.lengths or ()) > 1:
        return (
            f"react-native-fast-tflite runs one graph of a file, this one has {len(signature.lengths or ())}, one for "
            "each length: export it with one length, or lengths: any"
        )
    length = graph_of(source.path, signature).length
    if length < signature.max_length:
        return (
            f"react-native-fast-tflite can't give an input another size: the file stands at {length} tokens and reads "
            f"{signature.max_length}; export it with lengths: {signature.max_length}"
        )
    return None


def graph_of(folder: Path, signature: Signature) -> Graph:
    """Read the graph of model.tflite."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"))
    (key,) = interpreter.get_signature_list()
    runner = interpreter.get_signature_runner(key)
    given, answered = _indices(runner.get_input_details()), _indices(runner.get_output_details())
    names = {name: name if name in given else f"args_{place}" for place, name in enumerate(signature.inputs)}
    by_index = {given[tensor]: name for name, tensor in names.items()}
    inputs, outputs = interpreter.get_input_details(), [row["index"] for row in interpreter.get_output_details()]
    wanted = [name for name in SPAN_OUTPUTS if name in answered] or list(answered)
    return Graph(
        tuple(by_index[row["index"]] for row in inputs),
        tuple(outputs.index(answered[name]) for name in wanted),
        int(inputs[0]["shape"][1]),
    )


def _indices(details: dict[str, dict[str, Any]]) -> dict[str, int]:
    """The tensor of each name of a signature."""
    return {name: int(row["index"]) for name, row in details.items()}
