"""Steps of several recipes in one folder: each is called by what it makes, so what two recipes have in common is made
once."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from palmtop.recipe.steps import Step

LETTERS = 12
"""Of a step's digest, in its name."""


@dataclass(frozen=True)
class Addressed:
    """A recipe's steps under their new names."""

    steps: Mapping[str, Step]
    """By their names in the recipe, in its order."""

    def needed(self, wanted: Iterable[str]) -> list[Step]:
        """The steps that the wanted ones, by their names in the recipe, follow from, and they themselves, in order."""
        by_address = {step.name: step for step in self.steps.values()}
        left, found = [self.steps[name].name for name in wanted], set[str]()
        while left:
            address = left.pop()
            if address not in found:
                found.add(address)
                left += _sources(by_address[address])
        return [step for step in self.steps.values() if step.name in found]


def addressed(steps: Iterable[Step]) -> Addressed:
    """The steps of a recipe, each called NAME-DIGEST of its stage, its settings and all that it follows from."""
    found: dict[str, Step] = {}
    for step in steps:
        source = found[step.source].name if step.source else None
        bundles = {setting: found[name].name for setting, name in step.bundles.items()}
        settings = {
            name: value for name, value in step.stage.model_dump(mode="json").items() if name not in step.bundles
        }
        said = json.dumps([step.use, settings, source, bundles], sort_keys=True)
        digest = hashlib.sha256(said.encode()).hexdigest()[:LETTERS]
        found[step.name] = replace(step, name=f"{step.name}-{digest}", source=source, bundles=bundles)
    return Addressed(found)


def together(lists: Iterable[Iterable[Step]]) -> list[Step]:
    """The steps of several recipes, each once, none ahead of what it follows from."""
    return list({step.name: step for steps in lists for step in steps}.values())


def _sources(step: Step) -> list[str]:
    return [name for name in (step.source, *step.bundles.values()) if name is not None]
