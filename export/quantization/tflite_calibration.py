"""The activations of a .tflite on a user's own texts, and the ranges that a static file gives them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop.data.encoding import Encoding, pad
from palmtop.export.quantization import activation_ranges
from palmtop.export.quantization.activation_ranges import Range
from palmtop.export.quantization.quantizable import Calibration
from palmtop.export.tflite_file.layers import is_constant, kinds, module_of, read, text
from palmtop.signature import Signature

FEW = 8
"""Texts at a length that no text of the sample would run at."""


@dataclass(frozen=True)
class Activation:
    """A float tensor that is computed: the same place of the graph at every length."""

    names: tuple[str, ...]
    """In each signature that has it."""
    softmax: bool
    """Whether a softmax inside the model reads it, whatever reshapes lie between."""


@dataclass(frozen=True)
class TfliteCalibration:
    """A float .tflite run on texts, each at the length at which it would run.

    An additive mask as low as -1e4 would leave an int8 range no room for scores. So what a softmax reads is cut below
    where nothing is left of it anyway, and the mask at what then suffices.
    """

    file: Path
    signature: Signature
    given: Calibration

    @cached_property
    def ranges(self) -> dict[Activation, Range]:
        """The range of each activation that becomes int8."""
        return _unmasked(read(self.file), self._measured) if self.given.operators == "all" else self._measured

    def by_tensor(self) -> dict[str, dict[str, Any]]:
        """As ai-edge-quantizer takes them: {"min", "max"} for each tensor by name."""
        return {
            name: {"min": np.array(limit.low, np.float32), "max": np.array(limit.high, np.float32)}
            for activation, limit in self.ranges.items()
            for name in activation.names
        }

    def facts(self) -> dict[str, Any]:
        """On what it was calibrated, and which activations leave their ranges on other texts."""
        floored = self._softmax | {
            activation for activation, limit in self.ranges.items() if limit.low > self._measured[activation].low
        }
        found = activation_ranges.saturations(
            lambda: self.run(self.given.others),
            self.ranges,
            floored,
            lambda activation: module_of(activation.names[0]) or activation.names[0],
        )
        return self.given.facts() | activation_ranges.facts(found, len(self.ranges))

    def run(self, texts: Sequence[Encoding]) -> Iterator[tuple[Activation, Float32[ndarray, "..."]]]:
        """The activations of every text, one after another."""
        return _run(self.file, self.signature, texts, self._activations)

    @cached_property
    def _measured(self) -> dict[Activation, Range]:
        return activation_ranges.measure(lambda: self.run(self.given.texts), self.given.percentile, self._softmax)

    @cached_property
    def _activations(self) -> list[Activation]:
        return _activations(read(self.file), self.given.operators == "all")

    @property
    def _softmax(self) -> set[Activation]:
        return {activation for activation in self._activations if activation.softmax}


def _activations(model: Any, every_operator: bool) -> list[Activation]:
    """Lengths share a graph, so the n-th operator of one does what the n-th of another does: they get one range, and so
    one bias."""
    graphs = model.subgraphs
    alike = all(kinds(model, graph) == kinds(model, graphs[0]) for graph in graphs)
    found = []
    for group in [tuple(graphs)] if alike else [(graph,) for graph in graphs]:
        wanted, softmax = _wanted(model, group[0], every_operator), _read_by_softmax(model, group[0])
        for number, operator in enumerate(group[0].operators):
            for place, output in enumerate(operator.outputs):
                if output in wanted:
                    names = tuple(text(graph.tensors[graph.operators[number].outputs[place]].name) for graph in group)
                    found.append(Activation(names, int(output) in softmax))
    return found


def _wanted(model: Any, graph: Any, every_operator: bool) -> set[int]:
    touched: set[int] = set()
    for operator, kind in zip(graph.operators, kinds(model, graph), strict=True):
        if every_operator or kind == "FULLY_CONNECTED":
            touched |= {int(index) for index in (*operator.inputs, *operator.outputs)}
    return {
        index
        for index in touched
        if index >= 0 and graph.tensors[index].type == 0 and not is_constant(model, graph.tensors[index])
    }


def _read_by_softmax(model: Any, graph: Any) -> set[int]:
    """By one inside the model. Before the last one, which gives the file's answers, nothing is masked, and small
    answers count."""
    named = list(zip(kinds(model, graph), graph.operators, strict=True))
    reshaped = {int(operator.outputs[0]): int(operator.inputs[0]) for kind, operator in named if kind == "RESHAPE"}
    answers = {int(index) for index in graph.outputs}
    reached = {
        int(operator.inputs[0])
        for kind, operator in named
        if kind == "SOFTMAX" and int(operator.outputs[0]) not in answers
    }
    return reached | {reshaped[index] for index in reached if index in reshaped}


def _run(
    file: Path,
    signature: Signature,
    encodings: Sequence[Encoding],
    wanted: Sequence[Activation],
) -> Iterator[tuple[Activation, Float32[ndarray, "..."]]]:
    """The activations of every text, one after another. Each array is only good until the next."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer.utils.tfl_interpreter_utils import get_signature_main_subgraph_index

    interpreter = Interpreter(str(file), num_threads=1, experimental_preserve_all_tensors=True)
    by_name = {name: activation for activation in wanted for name in activation.names}
    for key, length in zip(
        sorted(interpreter.get_signature_list(), key=_number), signature.lengths or (None,), strict=True
    ):
        graph, runner = get_signature_main_subgraph_index(interpreter, key), interpreter.get_signature_runner(key)
        names = _input_names(runner.get_input_details(), signature)
        places = [
            (by_name[row["name"]], row["index"])
            for row in interpreter.get_tensor_details(graph)
            if row["name"] in by_name
        ]
        for encoding in _at_length(encodings, signature, length):
            batch = pad([encoding], length or len(encoding), signature.pad_id)
            runner(**{tensor: batch[name] for name, tensor in names.items()})
            for activation, index in places:
                yield activation, interpreter.get_tensor(index, graph)


def _number(key: str) -> int:
    return int("".join(filter(str.isdigit, key)) or 0)


def _input_names(details: dict[str, Any], signature: Signature) -> dict[str, str]:
    return {name: name if name in details else f"args_{place}" for place, name in enumerate(signature.inputs)}


def _at_length(encodings: Sequence[Encoding], signature: Signature, length: int | None) -> list[Encoding]:
    if length is None:
        return list(encodings)
    mine = [encoding for encoding in encodings if signature.length_for(len(encoding)) == length]
    return mine or sorted(encodings, key=len)[-FEW:]


def _unmasked(model: Any, limits: dict[Activation, Range]) -> dict[Activation, Range]:
    """The same ranges, without the mask's depth."""
    from palmtop.export.graph.edge import MASKED

    by_name = {name: activation for activation in limits for name in activation.names}
    masked = {activation for activation, limit in limits.items() if limit.low <= MASKED / 2}
    made, floor = dict(limits), 0.0
    for graph in model.subgraphs:
        for operator in graph.operators:
            names = [text(graph.tensors[index].name) for index in (operator.outputs[0], *operator.inputs) if index >= 0]
            output, *inputs = (by_name.get(name) for name in names)
            scores = [one for one in inputs if one is not None and one not in masked]
            if output is None or not output.softmax or len(scores) != 1 or not masked & set(inputs):
                continue
            low = limits[output].low
            made[scores[0]] = Range(max(low, limits[scores[0]].low), limits[scores[0]].high)
            floor = min(floor, low - limits[scores[0]].high)
    return made | {
        activation: Range(floor, max(0.0, limits[activation].high)) for activation in masked if not activation.softmax
    }
