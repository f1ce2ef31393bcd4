"""Second-order removal of structures: what costs least by the layer's own inputs goes, the rest makes up for it (ZipLM,
2302.04089).

Optimal brain surgeon for groups of columns: with inputs x of a linear layer and H = E[x x'] + lambda, removing the
columns S of W costs tr(W_S ([H^-1]_SS)^-1 W_S') at best, which W <- W - W_S ([H^-1]_SS)^-1 [H^-1]_S reaches; H^-1 is
then that of the rest. The bias takes part as a column of its own that is never removed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Linear

from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.pruning.mask_fisher import example_losses
from palmtop.compress.pruning.structure_budget import sizes_of
from palmtop.compress.pruning.sublayers import SubLayer
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch


CANDIDATES = 8
"""Times as many neurons are looked at as are removed in one go."""


@dataclass
class Seen:
    """What a sub-layer's last linear saw on the calibration texts, per real token."""

    moments: Float[Tensor, "columns_plus_one columns_plus_one"]
    """Sum of x x', x with a 1 at its end."""
    sensitivity: float = 0.0
    """Sum over tokens of |dL/dy|^2 / outputs: what an error of its output costs."""
    tokens: int = 0


@dataclass(frozen=True)
class Path:
    """A sub-layer's structures in the order in which they go, and what has been lost at each size."""

    order: list[int]
    """The first goes first; all of them."""
    losses: dict[int, float]
    """By the number of structures that are left."""


def seen_by(
    model: "PreTrainedModel",
    sublayers: Sequence[SubLayer],
    batches: "Iterable[Batch]",
    task: Task,
    labels: Literal["task", "model"],
    seed: int,
) -> list[Seen]:
    """Run the calibration texts through the model once, forward and back; its parameters need no gradient
    afterwards."""
    generator = torch.Generator().manual_seed(seed)
    found = [
        Seen(torch.zeros(sub.structures * sub.size + 1, sub.structures * sub.size + 1, dtype=model.dtype))
        for sub in sublayers
    ]
    used = [number for number, sub in enumerate(sublayers) if sub.structures]
    model.eval().requires_grad_(False)
    for batch in batches:
        real = batch["attention_mask"].bool()
        taps = {number: _Tap() for number in used}
        hooks = [sublayers[number].last(model).register_forward_hook(tap) for number, tap in taps.items()]
        loss = example_losses(model(**model_inputs(batch)).logits, batch["labels"], task, labels, generator).sum()
        gradients = torch.autograd.grad(loss, [tap.added for tap in taps.values()])
        for (number, tap), gradient in zip(taps.items(), gradients, strict=True):
            inputs = with_one(tap.given[real])
            found[number].moments += inputs.T @ inputs
            found[number].sensitivity += float(gradient[real].square().sum()) / gradient.shape[-1]
            found[number].tokens += len(inputs)
        for hook in hooks:
            hook.remove()
    return found


def removal_path(linear: Linear, sub: SubLayer, seen: Seen, multiple: int, damping: float) -> Path:
    """Remove a sub-layer's structures until none is left, each time those that cost least; neurons go `multiple` at a
    time.

    Losses are the error of the output, weighed with the sub-layer's sensitivity.
    """
    if not sub.structures:
        return Path([], {0: 0.0})
    weight = torch.cat([linear.weight, linear.bias[:, None]], 1).detach().double()
    hessian = seen.moments / seen.tokens
    inverse = torch.linalg.inv(damped(hessian, damping * float(hessian.diagonal()[:-1].mean())))
    weigh, lost, left, order = seen.sensitivity / seen.tokens, 0.0, list(range(sub.structures)), []
    losses = {sub.structures: 0.0}
    for size in sorted(sizes_of(sub.structures, multiple if sub.kind == "feed_forward" else 1), reverse=True)[1:]:
        gone = _cheapest(weight, inverse, sub, left, len(left) - size)
        lost += remove(weight, inverse, sub.columns(gone))
        order += gone
        left = [structure for structure in left if structure not in set(gone)]
        losses[size] = weigh * lost
    return Path(order, losses)


def remove(
    weight: "Float[Tensor, 'outputs columns']", inverse: "Float[Tensor, 'columns columns']", columns: Tensor
) -> float:
    """Remove columns of a weight, with the update of the others and of H^-1, in place; returns what it costs."""
    block, rows, taken = inverse[columns][:, columns], inverse[columns].clone(), weight[:, columns].clone()
    solved = torch.linalg.solve(block, rows)
    cost = float((torch.linalg.solve(block, taken.T) * taken.T).sum())
    weight -= taken @ solved
    inverse -= rows.T @ solved
    weight[:, columns] = inverse[:, columns] = inverse[columns] = 0  # but for rounding they are
    return cost


def damped(moments: "Float[Tensor, 'columns columns']", added: float) -> "Float[Tensor, 'columns columns']":
    """H in float64: the inputs' second moments and lambda on the diagonal, but for the bias."""
    hessian = moments.double().clone()
    hessian.diagonal()[:-1].add_(added + 1e-12)
    return hessian


def with_one(inputs: "Float[Tensor, 'rows columns']") -> "Float[Tensor, 'rows columns_plus_one']":
    """Inputs with a 1 at the end of each row, which the bias multiplies."""
    return torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)


class _Tap:
    """Keeps a linear's input, and adds to its output a zero whose gradient is the output's."""

    def __init__(self) -> None:
        self.given, self.added = torch.empty(0), torch.empty(0)

    def __call__(self, _: Any, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        self.given, self.added = given[0].detach(), torch.zeros_like(output, requires_grad=True)
        return output + self.added


def _cheapest(weight: Tensor, inverse: Tensor, sub: SubLayer, left: Sequence[int], count: int) -> list[int]:
    """The structures to remove next, in order; one after the other, or of two that could replace each other both would
    go.

    Among the cheapest alone: what removing some of them makes of the others' costs needs their part of W and H^-1 only.
    """
    likely = [
        structure
        for _, structure in sorted(zip(_costs(weight, inverse, sub, left), left, strict=True))[: CANDIDATES * count]
    ]
    if count == 1 or len(likely) == count:
        return likely[:count]
    columns = torch.tensor(likely, dtype=torch.int64)
    weights, part = weight[:, columns].clone(), inverse[columns][:, columns].clone()
    chosen: list[int] = []
    for _ in range(count):
        costs = weights.square().sum(0) / part.diagonal()
        costs[chosen] = torch.inf
        chosen.append(int(costs.argmin()))
        remove(weights, part, torch.tensor(chosen[-1:]))
    return [likely[place] for place in chosen]


def _costs(weight: Tensor, inverse: Tensor, sub: SubLayer, left: Sequence[int]) -> list[float]:
    """What removing each structure that is left would cost alone."""
    if sub.size == 1:
        columns = torch.tensor(left, dtype=torch.int64)
        costs: list[float] = (weight[:, columns].square().sum(0) / inverse.diagonal()[columns]).tolist()
        return costs
    blocks = [
        (weight[:, columns], inverse[columns][:, columns])
        for columns in (sub.columns([structure]) for structure in left)
    ]
    return [float((torch.linalg.solve(block, taken.T) * taken.T).sum()) for taken, block in blocks]
