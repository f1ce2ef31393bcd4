"""The part of a recipe that says where a search looks: places in a chain of steps, and what may stand in each."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool

from palmtop.settings import Settings


class ChoiceText(Settings):
    """A step that may stand in a place; with `each` one for every combination of values."""

    use: str
    """The stage."""
    settings: dict[str, Any] = Field(default={})
    bundles: dict[str, str] = Field(default={}, alias="with")
    """Settings that are another step's bundle: a step of the recipe, or a place: what stands in it, or before it where
    it is left out."""
    each: dict[str, tuple[StrictBool | int | float | str, ...]] = Field(default={})
    """Settings with a list of values: a choice for each combination."""


def _as_chain(value: Any) -> Any:
    """none: no step; a step alone: a chain of one."""
    if value is None or value == "none":
        return ()
    return [value] if isinstance(value, dict) else value


Chain = Annotated[tuple[ChoiceText, ...], BeforeValidator(_as_chain)]
"""Steps one after the other; none of them: the place is left out."""


class SearchText(Settings):
    """Where a search looks."""

    source: str | None = Field(default=None, alias="from")
    """The fine-tuned step that every candidate starts from; by default the teacher of `measure`, or the first."""
    choose: dict[str, tuple[Chain, ...]] = Field(default={})
    """By place, in the order of the chain, what may stand there: 'none', a step, or a list of steps. By default
    palmtop/spaces/default.yaml."""
    trials: int = Field(default=24, ge=1, le=10_000)
    """Candidates whose price is asked, at most."""
    trained: int = Field(default=9, ge=1, le=1000)
    """Candidates that are trained at all, at most: those that fit come first."""
    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.3, 1.0)
    """Shares of the epochs in each round of the halving; a third of the candidates comes through each."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """With which the winner is trained."""
    seed: int = 0
    """Of the proposals."""
