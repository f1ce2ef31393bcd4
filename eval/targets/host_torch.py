"""The target host_torch: a Hugging Face folder in PyTorch on this machine's processor."""

from pathlib import Path
from typing import ClassVar

from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, lacking
from palmtop.signature import Signature
from palmtop.target import Machine, Runner

PACKAGES = ("torch", "transformers", "tokenizers")
RUNTIME = ("torch", "transformers.modeling_utils", "transformers.models.auto.modeling_auto", "tokenizers")
"""Imported before the clock of `cost_of_loading` starts."""
BATCH = 32


class Target(HostTarget):
    """PyTorch, eager attention, float32."""

    name: ClassVar[str] = "host_torch"
    formats: ClassVar[frozenset[str]] = frozenset({"torch"})

    def missing(self) -> str | None:
        """torch, transformers and tokenizers are needed."""
        return lacking(self.name, {name: name for name in PACKAGES}, "train")

    def machine(self) -> Machine:
        """This machine, with the versions of torch, transformers and tokenizers."""
        return target.host_machine(PACKAGES)

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load the model with its head; nothing comes from the network."""
        return HostRunner(folder, Signature.read(folder), _answer(folder, threads), BATCH)


def _answer(folder: Path, threads: int) -> Answer:
    import torch

    from palmtop.models.opening import open_with_head, outputs_of

    model = open_with_head(folder)

    def answer(batch: Batch) -> Float32[ndarray, "batch ..."]:
        torch.set_num_threads(threads)  # the setting is the process's; other runners may have changed it
        with torch.inference_mode():
            return outputs_of(
                model(**{name: torch.from_numpy(values).long() for name, values in batch.items()})
            ).numpy()

    return answer
