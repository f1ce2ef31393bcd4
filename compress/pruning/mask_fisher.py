"""Fisher information of structure masks, for pruning after training (Kwon et al. 2022, 2204.09656)."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.pruning.sublayers import SubLayer
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch

SWAPS = 200
"""Most exchanges within one sub-layer."""


def mask_gradients(
    model: "PreTrainedModel",
    sublayers: Sequence[SubLayer],
    batches: "Iterable[Batch]",
    task: Task,
    labels: Literal["task", "model"],
    seed: int,
) -> "list[Float[Tensor, 'rows structures']]":
    """The gradient of each text's loss in a factor on each structure (context of a head, activation of a neuron) at 1.

    Every text has masks of its own, so one backward pass gives per-example gradients: the paper's formula; its code
    squares the sums over mini-batches. labels 'model': drawn from the model's own answers (with them the outer
    products' mean is the Fisher information). The model's parameters need no gradient afterwards.
    """
    generator = torch.Generator().manual_seed(seed)
    found: list[list[Tensor]] = [[] for _ in sublayers]
    model.eval().requires_grad_(False)
    for batch in batches:
        masks = [torch.ones(len(batch["input_ids"]), sub.structures, requires_grad=True) for sub in sublayers]
        hooks = [
            sub.last(model).register_forward_pre_hook(_Masking(mask, sub.size))
            for sub, mask in zip(sublayers, masks, strict=True)
        ]
        logits = model(**model_inputs(batch)).logits.float()
        loss = example_losses(logits, batch["labels"], task, labels, generator).sum()
        gradients = torch.autograd.grad(loss, masks, allow_unused=True, materialize_grads=True)
        for rows, gradient in zip(found, gradients, strict=True):
            rows.append(gradient)
        for hook in hooks:
            hook.remove()
    return [torch.cat(rows) for rows in found]


def rearranged(gradients: "Float[Tensor, 'rows structures']", pruned: Iterable[int]) -> list[int]:
    """The pruned structures of a sub-layer after exchanges that lower 1/2 m F m, m marking them, F = G' G / rows
    (paper: rearrangement).

    The best exchange of one pruned with one kept structure is made until none helps.
    """
    fisher = gradients.T @ gradients / len(gradients)
    out = torch.zeros(len(fisher), dtype=torch.bool)
    out[list(pruned)] = True
    for _ in range(SWAPS):
        inside, outside = out.nonzero().flatten(), (~out).nonzero().flatten()
        if not len(inside) or not len(outside):
            break
        pull, diagonal = fisher[:, inside].sum(1), fisher.diagonal()
        gain = (
            (diagonal - 2 * pull)[inside][:, None]
            + (diagonal + 2 * pull)[outside][None, :]
            - 2 * fisher[inside][:, outside]
        )
        best = int(gain.argmin())
        if float(gain.flatten()[best]) >= -1e-12 * float(diagonal.sum()):
            break
        out[inside[best // len(outside)]], out[outside[best % len(outside)]] = False, True
    return out.nonzero().flatten().tolist()


def example_losses(
    logits: "Float[Tensor, 'batch outputs']",
    labels: Tensor,
    task: Task,
    whose: Literal["task", "model"],
    generator: torch.Generator,
) -> "Float[Tensor, ' batch']":
    """Each text's loss, with the task's labels or with labels drawn from the answers themselves (for a regression: with
    variance 1)."""
    if whose == "task":
        return task.of_kind.label_loss(logits, labels)
    return task.of_kind.drawn_loss(logits, generator)


class _Masking:
    """Multiplies the input of a linear by its structures' masks, one row of them for each text."""

    def __init__(self, mask: Tensor, size: int) -> None:
        self._mask, self._size = mask, size

    def __call__(self, _: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        factor = self._mask.repeat_interleave(self._size, -1)[:, None, :]
        return (given[0] * factor if factor.shape[-1] else given[0], *given[1:])
