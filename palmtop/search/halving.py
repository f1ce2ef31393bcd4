"""Successive halving (Jamieson and Talwalkar 2016): many candidates are trained a little, a third of them longer, and
so on; and how that fits into some minutes."""

import math
from collections.abc import Callable, Sequence

from palmtop.search.tried import Tried

THIRD = 3
"""Of so many candidates one comes through a round."""
FINALISTS = 2
"""So many are trained to the end, at least, where there are as many: a front of one says nothing."""
LEAST = 0.02
"""Share of the epochs below which no training is worth its name."""


def through(tried: Sequence[Tried], last: bool) -> list[Tried]:
    """The candidates that go on to the next round, the best first; of equal ones the smaller.

    Args:
        last: whether that is the round in which the winner is chosen.
    """
    kept = max(math.ceil(len(tried) / THIRD), FINALISTS if last else 1)
    return sorted(tried, key=_order)[:kept]


def best(tried: Sequence[Tried]) -> Tried:
    """The winner of the last round."""
    return min(tried, key=_order)


def counts(candidates: int, rounds: int) -> list[int]:
    """How many candidates are trained in each round after the first."""
    left, found = candidates, []
    for number in range(rounds - 1):
        left = min(left, max(math.ceil(left / THIRD), FINALISTS if number == rounds - 2 else 1))
        found.append(left)
    return found


def seconds_left(
    candidates: int, shares: Sequence[float], seeds: int, full: Callable[[float], float], scale: float = 1.0
) -> float:
    """What the rounds after the first, and the winner's other seeds, will take.

    Args:
        full: seconds of one candidate trained for a share of its epochs.
        scale: of the shares of these rounds.
    """
    rounds = sum(
        count * full(scale * share) for count, share in zip(counts(candidates, len(shares)), shares[1:], strict=True)
    )
    return rounds + (seeds - 1) * full(scale * shares[-1])


def scale_for(
    seconds: float, candidates: int, shares: Sequence[float], seeds: int, full: Callable[[float], float]
) -> float:
    """The share of all their epochs with which the later rounds fit into so many seconds, 1 at most."""
    fixed = seconds_left(candidates, shares, seeds, full, 0.0)
    trained = seconds_left(candidates, shares, seeds, full) - fixed
    return min(1.0, max(LEAST, (seconds - fixed) / max(trained, 1e-9)))


def _order(one: Tried) -> tuple[float, float, int]:
    return (-(one.grade if one.grade is not None else -math.inf), one.mb or 0.0, one.number)
