"""How fast a model trains on this machine: a few steps of the real one, in batches as the recipe has them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from palmtop.bundle import Bundle
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.precision import Precision, precision_for
from palmtop.compress.learning.torch_bundles import shortened
from palmtop.compress.learning.used_rows import only_used_rows
from palmtop.models.opening import outputs_of, with_head
from palmtop.stage import outline_of
from palmtop.task import Task

if TYPE_CHECKING:
    from torch import Tensor

SECONDS = 2.0
"""How long it is tried, the first step apart."""
BATCHES = 20
"""Most batches that are tried."""


@dataclass(frozen=True)
class Training:
    """Those settings of a training that its speed depends on."""

    batch: int
    """Texts at a time."""
    max_length: int
    precision: Literal["auto"] | Precision
    seed: int


def pace(settings: Training, task: Task, source: Bundle) -> float | None:
    """Seconds of one training text through one of the source's layers, forth and back, the optimizer's part with it;
    None of a model without layers."""
    layers = outline_of(source).layers
    if not layers:
        return None
    split, batch = task.load("train"), settings.batch
    some = np.random.default_rng(settings.seed).permutation(len(split))[: BATCHES * batch]
    data = Encoded.of(split.take(some), source.path, shortened(source, settings.max_length))
    by_length = np.argsort(data.lengths, kind="stable")  # as training has it: a batch's texts are of similar length
    batches = [by_length[start : start + batch].tolist() for start in range(0, len(data), batch)]
    order = np.random.default_rng(settings.seed).permutation(len(batches))
    model, _ = with_head(source.path, task, settings.seed)
    with only_used_rows(model, data) as used:
        return _seconds_of_a_text(_Trial(model, settings), used.data, [batches[place] for place in order]) / layers


def _seconds_of_a_text(trial: "_Trial", data: Encoded, batches: Sequence[list[int]]) -> float:
    """The mean over as many batches as there is time for; the first has to warm up."""
    trial.step(data, batches[0])
    taken: list[float] = []
    for rows in batches:
        started = time.perf_counter()
        trial.step(data, rows)
        taken.append((time.perf_counter() - started) / len(rows))
        if sum(second * len(rows) for second in taken) > SECONDS:
            break
    return mean(taken)


class _Trial:
    """A model in training, whose weights nobody keeps."""

    def __init__(self, model: Any, settings: Training) -> None:
        import torch

        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self._device).train()
        self._precision = precision_for(settings.precision, model)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), lr=1e-5, fused=True)

    def step(self, data: Encoded, rows: list[int]) -> None:
        """A step on some rows. What the loss is makes no difference to its time."""
        import torch

        batch = {name: values.to(self._device) for name, values in data.batch(rows).items()}
        lower = self._precision != "float32"
        with torch.autocast(self._device.type, getattr(torch, self._precision), enabled=lower):
            outputs = outputs_of(self._model(**batch))
        loss: Tensor = outputs.float().square().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types there
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
