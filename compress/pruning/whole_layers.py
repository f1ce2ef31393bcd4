"""Which whole layers a model can do without: those whose absence changes its answers least."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from palmtop.compress.learning.batches import model_inputs
from palmtop.models.opening import keep_layers
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch


def layers_to_keep(
    model: "PreTrainedModel", count: int, drop: int, batches: "Sequence[Batch]", task: Task
) -> list[int]:
    """The layers that stay when `drop` of `count` go, one after the other, each time the one without which the answers
    stay nearest.

    Near: KL divergence from the full model's answers, or squared difference for a regression. No labels are needed.
    """
    left, full = list(range(count)), _answers(model, batches)
    for _ in range(drop):

        def distance(layer: int) -> float:
            without = keep_layers(model, [other for other in left if other != layer])
            return float(_distance(_answers(without, batches), full, batches, task))

        left.remove(min(left, key=distance))
    return left


def _answers(model: "PreTrainedModel", batches: "Sequence[Batch]") -> list[Tensor]:
    with torch.inference_mode():
        return [model.eval()(**model_inputs(batch)).logits.float() for batch in batches]


def _distance(found: Sequence[Tensor], full: Sequence[Tensor], batches: "Sequence[Batch]", task: Task) -> Tensor:
    kind = task.of_kind
    losses = [
        kind.soft_loss(one, other, 1.0, batch["attention_mask"])
        for one, other, batch in zip(found, full, batches, strict=True)
    ]
    return torch.cat(losses).mean()
