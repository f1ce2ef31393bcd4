"""The target host_onnx: an ONNX file in onnxruntime on this machine's processor."""

from collections.abc import Iterator, Sequence
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
from palmtop.formats.read_onnx import file_in
from palmtop.signature import PAST, STEP, Signature, past_of
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
    writes: ClassVar[bool] = True

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
    if signature.generation is not None:
        return HostWriter(folder, signature, _Steps(file_of(file.parent, file.name), signature, threads))
    return HostRunner(folder, signature, _answer(file_of(file.parent, file.name), signature, threads))


class _Steps(Steps):
    """The graph step, which reads any number of tokens behind keys and values of any length."""

    def __init__(self, file: Path, signature: Signature, threads: int) -> None:
        self._session, graph = _open(file, threads), signature.graph(STEP)
        if {node.name for node in self._session.get_inputs()} != {tensor.name for tensor in graph.inputs}:
            raise UserError(f"{file} takes other inputs than signature.json says: export it again")
        self._outputs = [node.name for node in self._session.get_outputs()]
        self._pasts = {tensor.name: tensor.axes for tensor in graph.inputs if tensor.name.startswith(PAST)}

    def read(self, ids: Sequence[int], state: Any) -> tuple[Logits, Any]:
        """The state is the cache."""
        found = self._run(ids, state)
        logits: Logits = found.pop("logits")[0, -1]
        return logits, {past_of(name): values for name, values in found.items()}

    def following(self, ids: Sequence[int]) -> Iterator[Logits]:
        """The whole text at once."""
        yield from self._run(ids, None)["logits"][0, :-1]

    def _run(self, ids: Sequence[int], state: Any) -> dict[str, Any]:
        cache = state or {name: np.zeros(_none_yet(axes), np.float32) for name, axes in self._pasts.items()}
        before = next(iter(cache.values())).shape[2]
        after = before + len(ids)
        given = {
            "input_ids": np.array([ids], np.int64),
            "attention_mask": np.ones((1, after), np.int64),
            "position_ids": np.arange(before, after, dtype=np.int64)[None],
        }
        return dict(zip(self._outputs, self._session.run(None, given | cache), strict=True))


def _none_yet(axes: Sequence[str | int]) -> list[int]:
    """The sizes of a cache of one text and no token."""
    return [axis if isinstance(axis, int) else {"batch": 1}.get(axis, 0) for axis in axes]


def _open(file: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(*EXACT_ON_X86)
    return _session(file, options)


def _answer(file: Path, signature: Signature, threads: int) -> Answer:
    session = _open(file, threads)
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
