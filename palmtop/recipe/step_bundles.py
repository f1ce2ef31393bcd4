"""Settings of a recipe's step that mean another step's bundle, such as its teacher: written under 'with', as {setting:
step}."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from palmtop.bundle import Format
from palmtop.errors import did_you_mean
from palmtop.recipe.steps import StepText
from palmtop.stage import Outline, Stage


def stand_ins(kind: type[Stage], step: StepText) -> dict[str, str]:
    """What stands for the bundles while the recipe is checked and none is there: a name where the setting must have a
    value."""
    return {
        setting: name
        for setting, name in step.bundles.items()
        if setting in kind.model_fields and kind.model_fields[setting].is_required()
    }


def setting_faults(kind: type[Stage], step: StepText) -> list[str]:
    """What is wrong with the settings named under 'with'."""
    faults = []
    for setting in step.bundles:
        if setting not in kind.model_fields:
            faults.append(
                f"step '{step.name}': with: no setting '{setting}'; {did_you_mean(setting, kind.model_fields)}"
            )
        if setting in step.settings or setting in step.each:
            faults.append(
                f"step '{step.name}': {setting} stands in 'with' and in 'settings' or 'each': leave it out of one"
            )
    return faults


def step_faults(
    name: str,
    bundles: Mapping[str, str],
    wanted: Format,
    before: Sequence[str],
    written: Sequence[str],
    outlines: Mapping[str, Outline],
) -> list[str]:
    """What is wrong with the steps named under 'with' of the step `name`: there is none, it comes later, or its bundle
    isn't of the format wanted."""
    faults = []
    for setting, step in bundles.items():
        if step not in written:
            faults.append(
                f"step '{name}': with: {setting} is '{step}', which is no step; {did_you_mean(step, written)}"
            )
        elif step not in before:
            faults.append(f"step '{name}': with: {setting} is '{step}', which doesn't come before it; put it first")
        elif step in outlines and outlines[step].format != wanted:
            faults.append(
                f"step '{name}': with: {setting} is '{step}', which is {outlines[step].format}; name a step that "
                f"gives a bundle in {wanted}"
            )
    return faults


def with_bundles(stage: Stage, bundles: Mapping[str, str], out: Path) -> Stage:
    """The stage with the folders of the bundles, which are there by now."""
    if not bundles:
        return stage
    settings: dict[str, Any] = stage.model_dump(exclude_unset=True) | {
        setting: str(out / step) for setting, step in bundles.items()
    }
    made = type(stage).model_validate(settings)
    return made if stage.learns else made.untrained()
