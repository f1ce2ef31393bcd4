"""How near a model's hidden states are to another's, layer by layer, on texts; and the layers that serve best in the
place of others."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palmtop.compress.albert.shared_weights import members, picked
from palmtop.compress.learning.batches import model_inputs
from palmtop.models.layer_weights import Half, modules_of
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.encoded import Encoded

TEXTS = 32
"""In a batch."""
ROUNDS = 4
"""A search that still changes something after so many ends all the same."""


class HiddenStates:
    """What a teacher's layers say of some texts."""

    def __init__(self, teacher: "PreTrainedModel", data: "Encoded") -> None:
        self._data = data
        self._wanted, self.answers = _states(teacher, data)
        self._spread = [float(((states - states.mean(0)) ** 2).sum()) for states in self._wanted]

    def errors(self, model: "PreTrainedModel") -> list[float]:
        """For each layer, sum |h' - h|^2 / sum |h - mean|^2 over the texts' tokens: 0 is equal, 1 no better than the
        mean."""
        found, _ = _states(model, self._data)
        return [
            float(((one - other) ** 2).sum()) / spread
            for one, other, spread in zip(found, self._wanted, self._spread, strict=True)
        ]

    def agreement(self, model: "PreTrainedModel") -> float:
        """Share of the texts to which a model answers as the teacher does."""
        return float((_states(model, self._data)[1].argmax(-1) == self.answers.argmax(-1)).float().mean())


def best_layers(
    model: "PreTrainedModel", sets: Sequence[int], halves: Sequence[Half], wanted: HiddenStates
) -> list[int]:
    """For each set, the one of its layers that all of them can use with the least error, mean over all layers' hidden
    states.

    One set at a time, from the first to the last, and over again until nothing changes: the best for every set given
    the others. `model` has weights of its own in each layer.
    """
    trial = copy.deepcopy(model)
    originals = [
        [layer.get_submodule(path) for half in halves for path in modules_of(half, model.config.model_type)]
        for layer in layers_of(trial)
    ]
    paths = [path for half in halves for path in modules_of(half, model.config.model_type)]

    def error(chosen: Sequence[int]) -> float:
        for layer, number in zip(layers_of(trial), sets, strict=True):
            for path, module in zip(paths, originals[chosen[number]], strict=True):
                layer.set_submodule(path, module)
        return sum(wanted.errors(trial))

    chosen = picked(sets, "middle")
    for _ in range(ROUNDS):
        before = list(chosen)
        for number in range(len(chosen)):
            tried = {layer: error([*chosen[:number], layer, *chosen[number + 1 :]]) for layer in members(sets, number)}
            chosen[number] = min(tried, key=lambda layer: tried[layer])
        if chosen == before:
            break
    return chosen


def _states(model: "PreTrainedModel", data: "Encoded") -> tuple[list[Tensor], Tensor]:
    """The output of each layer at the texts' tokens, [tokens, width], and the logits, [texts, outputs]."""
    found: list[list[Tensor]] = []
    logits = []
    for start in range(0, len(data), TEXTS):
        batch = data.batch(range(start, min(start + TEXTS, len(data))))
        with torch.inference_mode():
            output = model(**model_inputs(batch), output_hidden_states=True)
        found.append([states[batch["attention_mask"].bool()].float() for states in output.hidden_states[1:]])
        logits.append(output.logits)
    return [torch.cat(states) for states in zip(*found, strict=True)], torch.cat(logits)
