"""What a bundle's numbers are written with, so that they can be set beside those of the form with all its weights, or
with unrounded ones."""

from collections.abc import Iterable, Sequence
from typing import Any

from palmtop.bundle import Ancestor, Bundle


def taken_out(bundle: Bundle) -> Sequence[Ancestor]:
    """The steps on a bundle's way that took weights out: from the first that zeroed some on, those that zeroed or cut;
    where none zeroed, those that cut. (What was cut before anything was zeroed, such as a vocabulary, is no part of the
    pruning: what is pruned is the smaller model.)"""
    way = bundle.lineage
    zeroed = next((number for number, step in enumerate(way) if step.effect == "zeros"), 0)
    return [step for step in way[zeroed:] if step.effect in ("zeros", "cuts")]


def pruning(bundle: Bundle) -> list[str]:
    """The stages that pruned a bundle, in their order, each once; none where no weight was zeroed."""
    steps = taken_out(bundle)
    return _names(steps) if any(step.effect == "zeros" for step in steps) else []


def unpruned(bundle: Bundle, others: Iterable[Bundle]) -> Bundle | None:
    """What a bundle with fewer weights is set beside: of the same format and precision, made of what it was made of,
    with nothing taken out since; the nearest."""
    steps = taken_out(bundle)
    if not steps:
        return None
    first = bundle.lineage.index(steps[0])
    before = bundle.lineage[first - 1].digest if first else None
    like = [
        other
        for other in others
        if other.format == bundle.format
        and precision(other) == precision(bundle)
        and _is_whole_since(before, other.lineage)
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
    """What the numbers of a bundle with fewer weights are written with, so that `verdicts` finds the one that has them
    all; nothing for any other bundle.

    pruned_by: stages, where one of them zeroed weights; cut_by: those that left some out; unpruned: what it is set
    beside.
    """
    steps = taken_out(bundle)
    if not steps:
        return {}
    pruned, cut = pruning(bundle), _names([step for step in steps if step.effect == "cuts"])
    beside = unpruned(bundle, others)
    return (
        ({"pruned_by": pruned} if pruned else {})
        | ({"cut_by": cut} if cut else {})
        | {"unpruned": beside.digest if beside else None}
    )


def quantized_from(bundle: Bundle) -> dict[str, str]:
    """The digest of the float file that a quantized one was made of, so that the two are set side by side; nothing for
    a torch bundle, whose weights are stored as float32 even where they lie on a grid."""
    way = bundle.lineage
    is_quantized = bundle.format != "torch" and way[-1].effect == "rounds" and len(way) > 1
    return {"quantized_from": way[-2].digest} if is_quantized else {}


def _names(steps: Sequence[Ancestor]) -> list[str]:
    return list(dict.fromkeys(step.stage for step in steps))


def _is_whole_since(digest: str | None, way: Sequence[Ancestor]) -> bool:
    """Whether a way leads over the bundle of this digest, and took nothing out after it."""
    digests = [step.digest for step in way]
    return digest in digests and not any(step.effect in ("zeros", "cuts") for step in way[digests.index(digest) + 1 :])
