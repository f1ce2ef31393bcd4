"""A step as it stands in a recipe's YAML, the steps that lists of values make of one, and a step that is checked."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, StrictBool

from palmtop.settings import Settings
from palmtop.stage import Stage

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class StepText(Settings):
    """A step as it stands in the YAML."""

    name: str = Field(pattern=NAME)
    """What the bundle is called: its folder and its row in the table."""
    use: str
    """The stage."""
    source: str | None = Field(default=None, alias="from")
    """The step whose bundle it starts from; by default the step before it."""
    settings: dict[str, Any] = Field(default={})
    bundles: dict[str, str] = Field(default={}, alias="with")
    """Settings that are another step's bundle: {teacher: NAME}."""
    each: dict[str, tuple[StrictBool | int | float | str, ...]] = Field(default={})
    """Settings with a list of values: one step for each combination, called NAME-VALUE, all from the same step."""


@dataclass(frozen=True)
class Written:
    """A step that is meant, and those before it in the recipe."""

    text: StepText
    before: tuple[str, ...]
    """The step before it, by name: none, one, or all that one with `each` stands for."""


@dataclass(frozen=True)
class Step:
    """A step, checked."""

    name: str
    use: str
    source: str | None
    stage: Stage
    bundles: Mapping[str, str] = field(default_factory=dict)
    """Settings that are the bundles of other steps, by name."""


def expanded(steps: Sequence[StepText], faults: list[str]) -> list[Written]:
    """The steps that are meant: those with `each` once for every combination of its values. Faults are added to
    `faults`."""
    made: list[Written] = []
    before: tuple[str, ...] = ()
    for step in steps:
        wrong = _faults(step)
        faults += wrong
        alike = (
            [_one(step, values) for values in itertools.product(*step.each.values())]
            if step.each and not wrong
            else [step]
        )
        made += [Written(one, before) for one in alike]
        before = tuple(one.name for one in alike)
    return made


def _one(step: StepText, values: Sequence[Any]) -> StepText:
    return step.model_copy(
        update={"name": _name(step, values), "settings": step.settings | dict(zip(step.each, values, strict=True))}
    )


def _name(step: StepText, values: Sequence[Any]) -> str:
    return "-".join([step.name, *map(str, values)])


def _faults(step: StepText) -> list[str]:
    faults = [
        f"step '{step.name}': {name} stands in 'settings' and in 'each': leave it out of one"
        for name in step.each
        if name in step.settings
    ]
    for name, values in step.each.items():
        if not values:
            faults.append(f"step '{step.name}': each: {name} has no values: give a list of some")
        faults += [
            f"step '{step.name}': each: {name} is '{value}', which can't be part of a step's name: write a step of "
            "its own for it"
            for value in values
            if not re.fullmatch(NAME, _name(step, [value]))
        ]
    return faults
