"""The target host_litert: a .tflite file in LiteRT on this machine's processor, XNNPACK on."""

from pathlib import Path
from typing import ClassVar

from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.errors import UserError
from palmtop.eval.targets._cascade import opened
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, file_of, lacking
from palmtop.eval.targets._runner_there import Model, Refused
from palmtop.signature import Signature
from palmtop.target import Machine, Runner

MODEL = "model.tflite"
RUNTIME = ("ai_edge_litert.interpreter", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts."""


class Target(HostTarget):
    """LiteRT's interpreter: one text at a time, at the shortest of the file's lengths, or at its own where the file
    takes any."""

    name: ClassVar[str] = "host_litert"
    formats: ClassVar[frozenset[str]] = frozenset({"tflite", "tflite_cascade"})

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
    return HostRunner(folder, signature, _answer(file_of(folder, MODEL), signature, threads))


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
