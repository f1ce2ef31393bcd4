"""The target host_litert: a .tflite file in LiteRT on this machine's processor, XNNPACK on."""

from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.errors import UserError
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, file_of, lacking
from palmtop.signature import Signature
from palmtop.target import Machine, Runner

MODEL = "model.tflite"
OPEN = -1
"""A size in an input's shape that is known only when the file runs."""
RUNTIME = ("ai_edge_litert.interpreter", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts."""


class Target(HostTarget):
    """LiteRT's interpreter: one text at a time, at the shortest of the file's lengths, or at its own where the file
    takes any."""

    name: ClassVar[str] = "host_litert"
    formats: ClassVar[frozenset[str]] = frozenset({"tflite"})

    def missing(self) -> str | None:
        """ai-edge-litert and tokenizers are needed."""
        return lacking(self.name, {"ai_edge_litert": "ai-edge-litert", "tokenizers": "tokenizers"}, "tflite")

    def machine(self) -> Machine:
        """This machine, with the versions of LiteRT and tokenizers."""
        return target.host_machine(("ai-edge-litert", "tokenizers"))

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load model.tflite; every signature of it shares one set of weights."""
        signature = Signature.read(folder)
        return HostRunner(folder, signature, _answer(file_of(folder, MODEL), signature, threads))


def _answer(file: Path, signature: Signature, threads: int) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(file), num_threads=threads)
    kind = task_kinds.by_output(signature.output)
    runners: dict[str, tuple[Any, dict[str, tuple[str, type]]]] = {}

    def answer(batch: Batch) -> Float32[ndarray, "batch ..."]:
        length = batch["input_ids"].shape[1]
        key = f"length_{length}" if len(signature.lengths or ()) > 1 else "serving_default"
        if key not in runners:  # each signature takes memory of its own, so only those that are used
            runners[key] = _runner(interpreter, signature, key, file)
        runner, feeds = runners[key]
        outputs = runner(**{tensor: batch[name].astype(dtype, copy=False) for name, (tensor, dtype) in feeds.items()})
        return kind.from_runtime(outputs, len(batch["input_ids"]), length)

    return answer


def _runner(interpreter: Any, signature: Signature, key: str, file: Path) -> tuple[Any, dict[str, tuple[str, type]]]:
    """The callable of one signature of the file, and for each input its tensor's name and type."""
    known = sorted(interpreter.get_signature_list())
    if signature.lengths is None and not _any_length(interpreter, known):
        raise UserError(
            f"{file.parent}: signature.json names no lengths, but this .tflite has fixed ones: export it again"
        )
    if key not in known:
        raise UserError(f"{file} has no signature '{key}' (it has: {', '.join(known) or 'none'}): export it again")
    runner = interpreter.get_signature_runner(key)
    details = runner.get_input_details()
    names = {name: name for name in signature.inputs}
    if set(names) != set(details):  # litert-torch's own names, in the order of the signature
        names = {name: f"args_{position}" for position, name in enumerate(signature.inputs)}
    if set(names.values()) != set(details):
        raise UserError(
            f"{file} takes {', '.join(sorted(details))}, signature.json says {', '.join(signature.inputs)}: export it "
            "again"
        )
    return runner, {name: (tensor, details[tensor]["dtype"]) for name, tensor in names.items()}


def _any_length(interpreter: Any, signatures: list[str]) -> bool:
    details = interpreter.get_signature_runner(signatures[0]).get_input_details() if signatures else {}
    return all(OPEN in tensor["shape_signature"] for tensor in details.values())
