"""The target host_torch: a Hugging Face folder in PyTorch on this machine's processor."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.eval.targets._host import Answer, Batch, HostRunner, HostTarget, lacking
from palmtop.eval.targets._host_writer import HostWriter, Logits, Steps
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
    writes: ClassVar[bool] = True

    def missing(self) -> str | None:
        """torch, transformers and tokenizers are needed."""
        return lacking(self.name, {name: name for name in PACKAGES}, "train")

    def machine(self) -> Machine:
        """This machine, with the versions of torch, transformers and tokenizers."""
        return target.host_machine(PACKAGES)

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Load the model with its head; nothing comes from the network."""
        signature = Signature.read(folder)
        if signature.generation is not None:
            return HostWriter(folder, signature, _Steps(folder, threads))
        return HostRunner(folder, signature, _answer(folder, threads), BATCH)


class _Steps(Steps):
    """transformers' own cache, which grows."""

    def __init__(self, folder: Path, threads: int) -> None:
        from palmtop.models.opening import open_with_head

        self._model, self._threads = open_with_head(folder), threads

    def read(self, ids: Sequence[int], state: Any) -> tuple[Logits, Any]:
        """The state is the cache; its layers put new tensors in place of the old, which whoever holds them keeps."""
        import torch
        from transformers import DynamicCache

        cache = DynamicCache() if state is None else copy.copy(state)
        cache.layers = [copy.copy(layer) for layer in cache.layers]
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            answer = self._model(input_ids=torch.tensor([list(ids)]), past_key_values=cache, use_cache=True)
        return answer.logits[0, -1].numpy(), cache

    def following(self, ids: Sequence[int]) -> Iterator[Logits]:
        """The whole text at once."""
        import torch

        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            yield from self._model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0, :-1].numpy()


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
