"""The target host_litert: a .tflite file in LiteRT on this machine's processor, XNNPACK on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.errors import UserError
from palmtop.eval.targets._cascade import opened
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, file_of, lacking
from palmtop.eval.targets._host_writer import HostWriter, Logits, Steps
from palmtop.eval.targets._runner_there import Model, Refused
from palmtop.signature import PREFILL, STEP, Signature, past_of, prefills
from palmtop.target import Machine, Runner

MODEL = "model.tflite"
RUNTIME = ("ai_edge_litert.interpreter", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts."""


class Target(HostTarget):
    """LiteRT's interpreter: one text at a time, at the shortest of the file's lengths, or at its own where the file
    takes any."""

    name: ClassVar[str] = "host_litert"
    formats: ClassVar[frozenset[str]] = frozenset({"tflite", "tflite_cascade"})
    writes: ClassVar[bool] = True

    def missing(self) -> str | None:
        """ai-edge-litert and tokenizers are needed."""
        return lacking(self.name, {"ai_edge_litert": "ai-edge-litert", "tokenizers": "tokenizers"}, "tflite")

    def machine(self) -> Machine:
        """This machine, with the versions of LiteRT and tokenizers."""
        return target.host_machine(("ai-edge-litert", "tokenizers"))

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load model.tflite, or both of a cascade; every signature of a file shares one set of weights."""
        return opened(folder, lambda one: _load(one, threads))


def _load(folder: Path, threads: int) -> Runner:
    signature = Signature.read(folder)
    if signature.generation is not None:
        return HostWriter(folder, signature, _Steps(file_of(folder, MODEL), signature, threads))
    return HostRunner(folder, signature, _answer(file_of(folder, MODEL), signature, threads))


class _Steps(Steps):
    """The graphs prefill_N and step, between which keys and values go as arrays of one size."""

    def __init__(self, file: Path, signature: Signature, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)
        if gone := signature.other_graphs.keys() - self._interpreter.get_signature_list().keys():
            raise UserError(f"{file} has no signature '{min(gone)}', which signature.json names: export it again")
        self._graphs, self._runners = signature.other_graphs, dict[str, Any]()
        self._prefills = prefills(signature)

    def read(self, ids: Sequence[int], state: Any) -> tuple[Logits, Any]:
        """The state is how many tokens were read, and the cache. A prompt longer than the longest prefill is read in
        parts."""
        count, cache = (0, self._empty()) if state is None else state
        logits, place = np.empty(0, np.float32), 0
        while place < len(ids):
            left = len(ids) - place
            graph, size = (STEP, 1) if left == 1 and count else self._prefill(left)
            part = list(ids[place : place + size])
            outputs = self._run(graph, size, part, count, cache)
            logits, cache = outputs["logits"][0], {name: outputs[name] for name in outputs if name != "logits"}
            place, count = place + len(part), count + len(part)
        return logits, (count, cache)

    def _prefill(self, tokens: int) -> tuple[str, int]:
        """The shortest that takes so many tokens, or the longest."""
        size = next((size for size in self._prefills if size >= tokens), self._prefills[-1])
        return f"{PREFILL}{size}", size

    def _run(self, graph: str, size: int, ids: list[int], count: int, cache: dict[str, ndarray]) -> dict[str, ndarray]:
        if graph not in self._runners:
            self._runners[graph] = self._interpreter.get_signature_runner(graph)
        padded = np.zeros((1, size), np.int32)
        padded[0, : len(ids)] = ids
        given = {"input_ids": padded, "start": np.array([count], np.int32), "last": np.array([len(ids) - 1], np.int32)}
        given |= {past_of(name): values for name, values in cache.items()}
        outputs: dict[str, ndarray] = self._runners[graph](
            **{tensor.name: given[tensor.name] for tensor in self._graphs[graph].inputs}
        )
        return outputs

    def _empty(self) -> dict[str, ndarray]:
        return {
            tensor.name: np.zeros(tensor.shape, np.float32)
            for tensor in self._graphs[STEP].outputs
            if tensor.name != "logits"
        }


def _answer(file: Path, signature: Signature, threads: int) -> Answer:
    model = Model(str(file), signature.inputs, signature.lengths, threads)
    kind = task_kinds.by_output(signature.output)

    def answer(batch: Batch) -> Float32[ndarray, "batch ..."]:
        try:
            outputs = model.answer(batch)
        except Refused as error:
            raise UserError(str(error)) from None
        return kind.from_runtime(outputs, *batch["input_ids"].shape)

    return answer
