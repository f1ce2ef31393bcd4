"""What a search comes to: each candidate's fate with its reason, the winner, or the nearest where nothing is within the
limits."""

import math
from collections.abc import Mapping, Sequence

from palmtop.search import halving
from palmtop.search.tried import Limits, Outcome, Tried, front
from palmtop.search.workshop import Workshop


def judge(
    shop: Workshop,
    limits: Limits,
    tried: list[Tried],
    finalists: Sequence[Tried],
    teacher: float,
    grades: Mapping[str, float],
) -> Outcome:
    """The outcome, with the fates of all.

    Args:
        finalists: who was in the last round.
        teacher: its metric on the validation part.
        grades: of the winner, by seed.
    """
    winner = halving.best(finalists) if finalists and grades else None
    for one in finalists:
        one.fate = "on the front" if one in front(finalists) else "dominated"
        one.why = "" if winner is None else f"{one.grade or 0:.4f}; the best has {winner.grade or 0:.4f}"
    chosen, says = _verdict(limits, tried, winner, teacher, grades)
    if winner is not None:
        winner.fate, winner.why = ("chosen", "the best of all that fit") if chosen is not None else (winner.fate, says)
    first = next((one for one in tried if one.fate != "doesn't fit"), None)
    return Outcome(
        recipe=shop.space.base.name,
        task=shop.task.name,
        target=shop.space.recipe(first.chosen).measure.on[0] if first is not None else "",
        metric=shop.task.main_metric,
        limits=limits.given,
        space=shop.space.size,
        teacher=teacher,
        texts=len(shop.validation),
        tried=tried,
        chosen=chosen,
        seeds=dict(grades),
        verdict=says,
    )


def _verdict(
    limits: Limits, tried: Sequence[Tried], winner: Tried | None, teacher: float, grades: Mapping[str, float]
) -> tuple[int | None, str]:
    """The winner's number, and a sentence; None where nothing is within the limits."""
    if winner is None:
        near = _nearest(limits, tried)
        told = f"nearest is {near} ({near.cost}): {near.why}" if near else "nothing could be made and priced"
        return None, f"infeasible: {told}"
    share = max(grades.values()) / teacher if teacher > 0 else math.nan
    kept = f"keeps {share:.1%} of the teacher on the validation part"
    if limits.min_share is not None and not share >= limits.min_share:
        return None, f"infeasible: nearest is {winner} ({winner.cost}): it {kept}, under {limits.min_share:.1%}"
    return winner.number, f"{winner} ({winner.cost}) {kept}"


def _nearest(limits: Limits, tried: Sequence[Tried]) -> Tried | None:
    """The candidate that is least beyond the limits."""
    over = [one for one in tried if one.fate == "over the limit" and one.mb is not None]
    return min(over, key=lambda one: (limits.beyond(one.mb or 0, one.ms), one.number), default=None)
