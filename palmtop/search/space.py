"""Where a search looks: places in a chain of steps and the choices in each; a candidate is one choice in each place,
and a recipe."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

from palmtop import format as file_format
from palmtop import stage as stages
from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.recipe.recipe import Recipe, RecipeText, common, read_text
from palmtop.recipe.search_text import ChoiceText, SearchText
from palmtop.recipe.step_bundles import setting_faults, stand_ins
from palmtop.recipe.steps import NAME, StepText
from palmtop.search.price import files_of
from palmtop.settings import build
from palmtop.yaml_file import read_mapping

DEFAULT = Path(__file__).parents[1] / "spaces" / "default.yaml"
NONE = "none"
"""The choice to leave a place out."""

Chosen = Mapping[str, str]
"""A candidate: by place the label of what stands there."""


@dataclass(frozen=True)
class Choice:
    """What may stand in a place."""

    label: str
    """As tables say it: distill layers=2."""
    steps: tuple[ChoiceText, ...]
    """One after the other, without `each`; none where the place is left out."""


@dataclass(frozen=True)
class Space:
    """All candidates of a recipe."""

    text: RecipeText
    path: Path
    base: Recipe
    """The steps ahead of the candidates."""
    source: str
    """The step they start from, which also teaches."""
    search: SearchText
    places: Mapping[str, tuple[Choice, ...]]
    on: str | None = None
    """The target that the files are run on; None: the file's own."""

    @classmethod
    def read(cls, reference: str, task: str | None = None, on: str | None = None) -> Self:
        """The space of a shipped recipe, or of a YAML file, checked whole.

        Raises:
            UserError: all faults of the recipe and its space together.
        """
        text, path = read_text(reference, task)
        search = text.search or SearchText()
        if not search.choose:
            default = build(SearchText, read_mapping(DEFAULT), DEFAULT.name)
            search = search.model_copy(update={"choose": default.choose})
        base = Recipe.of(text.model_copy(update={"search": None}), path, other_task=task is not None)
        faults: list[str] = []
        source = _source(search.source, base, faults)
        places = {name: _choices(chains) for name, chains in search.choose.items()}
        made = cls(text, path, base, source, search, places, on)
        raise_all([*faults, *made._faults()])
        return made

    @property
    def size(self) -> int:
        """How many candidates there are, those that fit no model among them."""
        return math.prod(map(len, self.places.values()))

    @property
    def digest(self) -> str:
        """sha256 of all that a candidate's fate depends on, but for its own choices."""
        text = self.text.model_dump(mode="json", exclude={"measure", "search"})
        task = self.base.task.digest if self.base.task is not None else None
        choices = {place: [choice.label for choice in found] for place, found in self.places.items()}
        rest = self.search.model_dump(mode="json", exclude={"choose"})
        said = json.dumps([text, task, choices, rest, self.on, self.source], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()

    def candidates(self) -> Iterator[dict[str, str]]:
        """All of them."""
        for choices in itertools.product(*self.places.values()):
            yield {name: choice.label for name, choice in zip(self.places, choices, strict=True)}

    def recipe(self, chosen: Chosen, seed: int | None = None) -> Recipe:
        """A candidate as a recipe, whose last step is its file.

        Args:
            seed: of the trainings of its own steps; None: the recipe's.

        Raises:
            UserError: its steps don't fit each other, or the teacher.
        """
        own = self.own_steps(chosen)
        if not own:
            raise UserError("nothing is left of it: every place is left out")
        if seed is not None:
            own = [_seeded(step, seed) for step in own]
        steps = (*self.text.steps, *own)
        measure = self.text.measure.model_copy(
            update={"bundles": (own[-1].name,), "baseline": None, "teacher": None, "control": None, "chart": None}
        )
        text = self.text.model_copy(update={"steps": steps, "measure": measure, "search": None, "minutes": None})
        recipe = Recipe.of(text, self.path)
        on = self.on or file_format.judge(recipe.outlines[own[-1].name].format)
        return replace(recipe, name=self.base.name, measure=measure.model_copy(update={"on": (on,)}))

    def own_steps(self, chosen: Chosen) -> list[StepText]:
        """A candidate's steps behind the recipe's own."""
        last, stands, made = self.source, dict[str, str](), list[StepText]()
        for place, label in chosen.items():
            steps = self._choice(place, label).steps
            for number, step in enumerate(steps, 1):
                name = place if number == len(steps) else f"{place}-{step.use}"
                bundles = {setting: stands.get(named, named) for setting, named in step.bundles.items()}
                made.append(
                    StepText.model_validate(
                        {"name": name, "use": step.use, "from": last, "settings": step.settings, "with": bundles}
                    )
                )
                last = name
            stands[place] = last
        return made

    def _choice(self, place: str, label: str) -> Choice:
        return next(choice for choice in self.places[place] if choice.label == label)

    @cached_property
    def _known(self) -> list[str]:
        """Names that a step's `with` can have."""
        return [*(step.name for step in self.base.steps), *self.places]

    def _faults(self) -> list[str]:
        if not self.places:
            return ["search: choose has no places: name some, each with what may stand there"]
        faults = [
            f"search: place '{name}' has no choices: list some" for name, found in self.places.items() if not found
        ]
        for name in self.places:
            if not re.fullmatch(NAME, name):
                faults.append(f"search: place '{name}' can't be a step's name: letters, digits, '-', '_' and '.'")
            if name in {step.name for step in self.base.steps}:
                faults.append(f"search: place '{name}' is called like a step of the recipe: give it another name")
        for place, choices in self.places.items():
            faults += [
                f"search: place '{place}', {choice.label}: {fault}"
                for choice in choices
                for step in choice.steps
                for fault in self._faults_of(step)
            ]
        return list(dict.fromkeys(faults))

    def _faults_of(self, step: ChoiceText) -> list[str]:
        text = StepText.model_validate({"name": "a", "use": step.use, "settings": step.settings, "with": step.bundles})
        try:
            kind = stages.find(step.use)
            stages.versions(kind)
            wrong = [fault.removeprefix("step 'a': ") for fault in setting_faults(kind, text)]
            given = common(kind, self.text, self.path.parent.resolve()) | stand_ins(kind, text) | step.settings
            made = build(kind, given, step.use)
        except UserError as error:
            return [fault.removeprefix(f"{step.use}: ") for fault in error.faults]
        if not made.accepts:
            wrong.append("it starts from nothing, and a candidate starts from the teacher: leave it out")
        if why := made.unpriced():
            wrong.append(f"it can't be priced: {why}")
        return wrong + [
            f"with: {setting} is '{named}', which is no step and no place; {did_you_mean(named, self._known)}"
            for setting, named in step.bundles.items()
            if named not in self._known
        ]


def fitting(space: Space, chosen: Chosen) -> Recipe | str:
    """A candidate's recipe, or why its steps don't go together."""
    try:
        recipe = space.recipe(chosen)
        files_of(recipe)
    except UserError as error:
        return "; ".join(error.faults)
    return recipe


def shortened(recipe: Recipe, space: Space, share: float, rows: int) -> Recipe:
    """A candidate's recipe with a share of the epochs in its own steps; the teacher's way stays as it is."""
    if share >= 1:
        return recipe
    given = {step.name for step in space.base.steps}
    steps = tuple(
        step if step.name in given else replace(step, stage=step.stage.shortened(share, rows)) for step in recipe.steps
    )
    return replace(recipe, steps=steps)


def _source(named: str | None, base: Recipe, faults: list[str]) -> str:
    """The step that candidates start from: as it is named, or the recipe's teacher, or the first with a head."""
    named = named or base.measure.teacher
    able = [name for name, made in base.outlines.items() if made.format == "torch" and made.labels is not None]
    if named is not None and named not in base.outlines:
        faults.append(f"search: from is '{named}', which is no step; {did_you_mean(named, base.outlines)}")
    elif named is not None and named not in able:
        faults.append(f"search: from is '{named}', which has no head of the task: name a fine-tuned step")
    elif not able:
        faults.append("search: no step is fine-tuned, so there is nothing to start from: add a 'finetune' step")
    return named or (able[0] if able else "")


def _choices(chains: Sequence[Sequence[ChoiceText]]) -> tuple[Choice, ...]:
    return tuple(choice for chain in chains for choice in _expanded(chain))


def _expanded(chain: Sequence[ChoiceText]) -> list[Choice]:
    """A chain once for every combination of its steps' `each`."""
    return [Choice(_label(chain, alike), tuple(alike)) for alike in itertools.product(*(_each(step) for step in chain))]


def _each(step: ChoiceText) -> list[ChoiceText]:
    return [
        step.model_copy(update={"settings": step.settings | dict(zip(step.each, values, strict=True)), "each": {}})
        for values in itertools.product(*step.each.values())
    ]


def _label(chain: Sequence[ChoiceText], alike: Sequence[ChoiceText]) -> str:
    """The stages with the settings that are written, those of a step with neither alone."""
    return " + ".join(map(_shown, alike)) if chain else NONE


def _shown(step: ChoiceText) -> str:
    return " ".join([step.use, *(f"{name}={value}" for name, value in step.settings.items())])


def _seeded(step: StepText, seed: int) -> StepText:
    has = "seed" in stages.find(step.use).model_fields
    return step.model_copy(update={"settings": step.settings | {"seed": seed}}) if has else step
