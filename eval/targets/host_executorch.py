"""The target host_executorch: a .pte file in ExecuTorch's runtime on this machine's processor, XNNPACK on."""

import os
import warnings
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.converter_log import captured
from palmtop.errors import UserError
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, file_of, lacking
from palmtop.signature import Signature
from palmtop.target import Machine, Runner

MODEL = "model.pte"
RUNTIME = ("torch", "executorch.runtime", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts; torch is what hands tensors over."""
_LOADED: "WeakSet[Any]" = WeakSet()
"""What is loaded and not let go yet."""


class Target(HostTarget):
    """ExecuTorch: one text at a time, at its own length, as an app runs it. Its memory is planned for the longest."""

    name: ClassVar[str] = "host_executorch"
    formats: ClassVar[frozenset[str]] = frozenset({"executorch"})

    def missing(self) -> str | None:
        """executorch, torch and tokenizers are needed."""
        return lacking(self.name, {name: name for name in ("executorch", "torch", "tokenizers")}, "executorch")

    def machine(self) -> Machine:
        """This machine, with the versions of executorch, torch and tokenizers."""
        return target.host_machine(("executorch", "torch", "tokenizers"))

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load model.pte."""
        signature = Signature.read(folder)
        return HostRunner(folder, signature, _answer(file_of(folder, MODEL), signature, threads))


def _answer(file: Path, signature: Signature, threads: int) -> Answer:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says of itself that it is experimental
        from executorch.extension.pybindings.portable_lib import _threadpool_get_thread_count, _unsafe_reset_threadpool
        from executorch.runtime import Runtime

    with captured(Path(os.devnull)):  # it tells on stderr how it looks for the processor's name
        if _threadpool_get_thread_count() != threads:
            if _LOADED:  # they keep the pool that would be taken from under them
                raise UserError(
                    "ExecuTorch has one pool of threads for all files that are open: give the same 'threads'"
                )
            _unsafe_reset_threadpool(threads)
        method: Any = Runtime.get().load_program(file).load_method("forward")
    _LOADED.add(method)
    taken = method.metadata.num_inputs()
    if taken != len(signature.inputs):
        raise UserError(
            f"{file} takes {taken} inputs, signature.json says {', '.join(signature.inputs)}: export it again"
        )

    kind = task_kinds.by_output(signature.output)

    def answer(batch: Batch) -> Float32[ndarray, "batch outputs"]:
        outputs = method.execute([torch.from_numpy(batch[name]) for name in signature.inputs])
        copied = [np.array(each.numpy(), np.float32) for each in outputs]  # the next answer has the same memory
        return kind.from_runtime(dict(zip(kind.output_names, copied, strict=True)), *batch["input_ids"].shape)

    return answer
