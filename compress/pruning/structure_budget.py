"""How many structures each sub-layer keeps: the least importance lost within a budget of time or multiply-adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palmtop.errors import UserError

GRID = 4000
"""Steps that the budget is counted in; costs are rounded up to them, so that it always holds, by at most a step for
each sub-layer."""


@dataclass(frozen=True)
class Levels:
    """The sizes that a sub-layer can be cut to."""

    sizes: Int[ndarray, " levels"]
    """Structures that are left, ascending."""
    costs: Float[ndarray, " levels"]
    """Milliseconds or multiply-adds, ascending."""
    losses: Float[ndarray, " levels"]
    """What is lost, descending."""


def sizes_of(structures: int, multiple: int) -> list[int]:
    """The sizes from 0 to all: multiples, and all."""
    return sorted({*range(0, structures + 1, multiple), structures})


def choose(sublayers: Sequence[Levels], budget: float) -> list[int]:
    """The size of each sub-layer: least sum of losses of those whose costs add up to `budget` at most.

    A multiple-choice knapsack, solved exactly on the grid by dynamic programming (as ZipLM does: Kurtic et al. 2023,
    2302.04089).

    Raises:
        UserError: not even the smallest sizes are within the budget.
    """
    least = sum(float(levels.costs[0]) for levels in sublayers)
    if budget < least:
        raise UserError(
            f"not even without any heads and feed-forward neurons is the budget met ({budget:.4g}, and {least:.4g} "
            "are left then): ask for less, or drop whole layers with drop_layers"
        )
    unit = max(budget - least, 1e-12) / GRID
    best, taken = np.zeros(GRID + 1), []
    for levels in sublayers:
        steps = np.ceil((levels.costs - levels.costs[0]) / unit - 1e-9).astype(np.int64)
        best, level = _with_one_more(best, np.maximum(steps, 0), levels.losses)
        taken.append((level, steps))
    place, chosen = GRID - int(np.argmin(best[::-1])), []  # of equals the largest: what can't be told apart is kept
    for levels, (level, steps) in zip(reversed(sublayers), reversed(taken), strict=True):
        chosen.append(int(levels.sizes[level[place]]))
        place -= int(steps[level[place]])
    return chosen[::-1]


def _with_one_more(
    best: "ndarray[Any, Any]", steps: "ndarray[Any, Any]", losses: "ndarray[Any, Any]"
) -> "tuple[Any, Any]":
    """(least loss by cost so far, a sub-layer's levels) -> least loss by cost with it, and the level that gives it."""
    found, level = np.full(GRID + 1, np.inf), np.zeros(GRID + 1, np.int64)
    for number, (step, loss) in enumerate(zip(steps, losses, strict=True)):
        if step > GRID:
            continue
        with_it = best[: GRID + 1 - step] + loss
        better = with_it <= found[step:]
        found[step:][better] = with_it[better]
        level[step:][better] = number
    return found, level
