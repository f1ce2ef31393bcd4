"""The target host_onnx: an ONNX file in onnxruntime on this machine's processor."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.errors import UserError
from palmtop.eval.targets._cascade import opened
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, file_of, lacking
from palmtop.formats.read_onnx import file_in
from palmtop.signature import Signature
from palmtop.target import Machine, Runner

RUNTIME = ("onnxruntime", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts."""

EXACT_ON_X86 = ("session.x64quantprecision", "1")
"""A session's option. Without it 8-bit products overflow their 16-bit sums on x86 processors without VNNI (AVX2 alone,
early AVX-512), and a good file answers wrongly there; with it those processors take a slower product, and all others
change nothing."""
SHARED = "Attempt to replace the existing tensor"
"""What ONNX Runtime says of a weight that it was to turn for a second layer."""


class Target(HostTarget):
    """onnxruntime's CPU provider: one text at a time, unpadded, as an app runs it.

    Texts aren't batched: dynamic quantization takes one scale from the whole batch, so batching changes answers.
    """

    name: ClassVar[str] = "host_onnx"
    formats: ClassVar[frozenset[str]] = frozenset({"onnx", "onnx_cascade"})

    def missing(self) -> str | None:
        """onnxruntime and tokenizers are needed."""
        return lacking(self.name, {name: name for name in RUNTIME}, "onnx")

    def machine(self) -> Machine:
        """This machine, with the versions of onnxruntime and tokenizers."""
        return target.host_machine(RUNTIME)

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load model.onnx, wherever its folder has it, or both of a cascade."""
        return opened(folder, lambda one: _load(one, threads))


def _load(folder: Path, threads: int) -> Runner:
    signature, file = Signature.read(folder), file_in(folder)
    return HostRunner(folder, signature, _answer(file_of(file.parent, file.name), signature, threads))


def _answer(file: Path, signature: Signature, threads: int) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(*EXACT_ON_X86)
    session = _session(file, options)
    types = {node.name: np.int64 if node.type == "tensor(int64)" else np.int32 for node in session.get_inputs()}
    if set(types) != set(signature.inputs):
        raise UserError(
            f"{file} takes {', '.join(sorted(types))}, signature.json says {', '.join(signature.inputs)}: export it "
            "again"
        )

    kind, names = task_kinds.by_output(signature.output), [node.name for node in session.get_outputs()]

    def answer(batch: Batch) -> Float32[ndarray, "batch outputs"]:
        outputs = session.run(None, {name: batch[name].astype(dtype, copy=False) for name, dtype in types.items()})
        return kind.from_runtime(dict(zip(names, outputs, strict=True)), *batch["input_ids"].shape)

    return answer


def _session(file: Path, options: Any) -> Any:
    """A session with `EXACT_ON_X86`; without it where ONNX Runtime can't turn the weights of a file for it, because
    layers share one: then the comparison at the end of an export says whether it answers rightly on this processor."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Fail as error:
        if SHARED not in str(error):
            raise
    options.add_session_config_entry(EXACT_ON_X86[0], "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
