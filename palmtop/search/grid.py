"""A grid over a recipe's settings, as --grid student.layers=2,3,4 says it: a recipe for each combination of values."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.recipe.recipe import Recipe, RecipeText, read_text
from palmtop.recipe.steps import StepText
from palmtop.search.price import Asked, files_of

HOW = "write --grid STEP.SETTING=VALUE,VALUE, as --grid student.layers=2,3,4"


@dataclass(frozen=True)
class Variant:
    """A recipe with some of its settings given by a grid."""

    recipe: Recipe
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values by STEP.SETTING."""

    def __str__(self) -> str:
        said = ", ".join(f"{name}={_shown(value)}" for name, value in self.given.items())
        return f"{self.recipe.name} ({said})" if said else self.recipe.name


@dataclass(frozen=True)
class Axis:
    """A setting and its values."""

    step: str
    setting: str
    values: tuple[Any, ...]

    @classmethod
    def read(cls, text: str) -> "Axis":
        """STEP.SETTING=VALUE,VALUE; values are written as in YAML.

        Raises:
            UserError: it isn't written so.
        """
        place, equals, values = text.partition("=")
        step, dot, setting = place.strip().rpartition(".")
        if not (equals and dot and step and setting and values.strip()):
            raise UserError(f"--grid {text}: {HOW}")
        try:
            read = yaml.safe_load(f"[{values}]")
        except yaml.YAMLError:
            raise UserError(f"--grid {text}: the values can't be read as YAML: {HOW}") from None
        if any(value in read[:place] for place, value in enumerate(read)):
            raise UserError(f"--grid {text}: a value stands there twice: name each once")
        return cls(step, setting, tuple(read))

    @property
    def name(self) -> str:
        """As a variant says it."""
        return f"{self.step}.{self.setting}"


def variants(
    references: Sequence[str], grid: Sequence[str], task: str | None = None, on: Sequence[str] = ()
) -> list[Variant]:
    """Every recipe with every combination of the grid's values, read and checked whole.

    Args:
        grid: as `Axis.read` takes them.
        task: another task than the recipes'.
        on: other targets than the recipes'.

    Raises:
        UserError: all faults together, those of a variant led by its values.
    """
    axes, faults = _axes(grid)
    texts = [_text(reference, task, on) for reference in references]
    faults += [fault for axis in axes for fault in _unknown(axis, [text for text, _ in texts])]
    raise_all(faults)
    found: list[Variant] = []
    for text, path in texts:
        for values in itertools.product(*(axis.values for axis in axes)):
            given = {axis.name: value for axis, value in zip(axes, values, strict=True) if _names(text, axis)}
            try:
                found.append(_variant(text, path, given, other_task=task is not None))
            except UserError as error:
                faults += [fault for fault in _led(error, given) if fault not in faults]
    raise_all(faults)
    return [one for place, one in enumerate(found) if str(one) not in map(str, found[:place])]


def files(found: Sequence[Variant]) -> list[tuple[str, Asked]]:
    """The files of all variants, with the variant's name.

    Raises:
        UserError: variants that can't be priced, all told together.
    """
    asked: list[tuple[str, Asked]] = []
    faults: list[str] = []
    for variant in found:
        try:
            asked += [(str(variant), one) for one in files_of(variant.recipe)]
        except UserError as error:
            faults += [fault for fault in _led(error, variant.given) if fault not in faults]
    raise_all(faults)
    return asked


def _text(reference: str, task: str | None, on: Sequence[str]) -> tuple[RecipeText, Path]:
    text, path = read_text(reference, task)
    if not on:
        return text, path
    return text.model_copy(update={"measure": text.measure.model_copy(update={"on": tuple(on)})}), path


def _axes(grid: Sequence[str]) -> tuple[list[Axis], list[str]]:
    axes: list[Axis] = []
    faults: list[str] = []
    for text in grid:
        try:
            axis = Axis.read(text)
        except UserError as error:
            faults += error.faults
            continue
        if axis.name in [other.name for other in axes]:
            faults.append(f"--grid {axis.name} is given twice: give all its values in one")
        axes.append(axis)
    return axes, faults


def _unknown(axis: Axis, texts: Sequence[RecipeText]) -> list[str]:
    if any(_names(text, axis) for text in texts):
        return []
    known = [step.name for text in texts for step in text.steps]
    return [f"--grid {axis.name}: no step '{axis.step}'; {did_you_mean(axis.step, known)}"]


def _names(text: RecipeText, axis: Axis) -> bool:
    return any(step.name == axis.step for step in text.steps)


def _variant(text: RecipeText, path: Path, given: Mapping[str, Any], other_task: bool) -> Variant:
    steps = tuple(_with(step, given) for step in text.steps)
    return Variant(Recipe.of(text.model_copy(update={"steps": steps}), path, other_task), given)


def _with(step: StepText, given: Mapping[str, Any]) -> StepText:
    """The step with its values; they take the place of what the recipe says of the setting."""
    own = {name.removeprefix(f"{step.name}."): value for name, value in given.items() if _step_of(name) == step.name}
    each = {name: values for name, values in step.each.items() if name not in own}
    return step.model_copy(update={"settings": step.settings | own, "each": each})


def _step_of(name: str) -> str:
    return name.rpartition(".")[0]


def _led(error: UserError, given: Mapping[str, Any]) -> list[str]:
    said = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
    return [f"{said}: {fault}" if said else fault for fault in error.faults]


def _shown(value: Any) -> str:
    return str(value).replace("'", "")
