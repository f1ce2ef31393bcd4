"""What a pruned bundle's numbers are written with, so that they can be set beside those of its unpruned form."""

from collections.abc import Iterable
from typing import Any

from palmtop.bundle import Bundle

PRUNING = ("magnitude", "movement", "prune_structures", "shrink", "trim_vocabulary")
"""The stages that take something out of a model."""


def pruning(bundle: Bundle) -> list[str]:
    """The pruning stages on the way to a bundle, in their order, each once."""
    return list(dict.fromkeys(step.stage for step in bundle.lineage if step.stage in PRUNING))


def unpruned(bundle: Bundle, others: Iterable[Bundle]) -> Bundle | None:
    """What a pruned bundle is set beside: of the same format and precision, made without pruning from what was pruned;
    the nearest."""
    way = [step.stage in PRUNING for step in bundle.lineage]
    before = bundle.lineage[way.index(True) - 1].digest if True in way[1:] else None
    like = [
        other
        for other in others
        if other.format == bundle.format
        and precision(other) == precision(bundle)
        and not pruning(other)
        and before in {step.digest for step in other.lineage}
    ]
    return min(like, key=lambda other: len(other.lineage), default=None)


def precision(bundle: Bundle) -> str:
    """How the weights are stored, as the stage that made the bundle says; float32 where it says nothing, and in torch,
    where stages say what they were trained in."""
    if bundle.format == "torch":
        return "float32"
    said = bundle.card.facts.get("scheme") or bundle.card.facts.get("precision")
    return str(said) if said else "float32"


def conditions(bundle: Bundle, others: Iterable[Bundle]) -> dict[str, Any]:
    """What a pruned bundle's numbers are written with, so that `verdicts` finds the unpruned one; nothing for any other
    bundle."""
    stages = pruning(bundle)
    if not stages:
        return {}
    beside = unpruned(bundle, others)
    return {"pruned_by": stages, "unpruned": beside.digest if beside else None}
