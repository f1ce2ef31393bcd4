"""What a stage does to a model, in a word that its result's card keeps: who asks what happened to a bundle reads this,
and needs to know no stage by name."""

from typing import Literal, get_args

from palmtop import stage_files

Effect = Literal["teaches", "zeros", "cuts", "rounds", "none"]
"""teaches: a model is trained, the source or a smaller student. zeros: weights become 0 and stay where they are. cuts:
weights are gone: tokens, heads, neurons or layers are left out, or what is left is factorized or shared. rounds:
weights lie on a grid of few bits. none: the same weights, in another place or format.

A stage that does several things says what is left of them in the weights: one that prunes while training zeros."""


def of_stage(name: str) -> Effect | None:
    """The effect of the stage called `name`, as its file says today; None where there is no such stage (any more)."""
    said = stage_files.effect(name)
    return next((effect for effect in get_args(Effect) if effect == said), None)
