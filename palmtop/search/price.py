"""What a recipe's files would cost: built with nothing learnt, exported by the recipe's own steps, run on its targets,
and kept by what was priced."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop import format as file_format
from palmtop import stage as stages
from palmtop import target
from palmtop.bundle import Bundle
from palmtop.durably import write_durably
from palmtop.errors import UserError, raise_all
from palmtop.making import Say
from palmtop.measure_settings import MeasureText
from palmtop.recipe.attempt import Attempt, attempt
from palmtop.recipe.recipe import Recipe
from palmtop.recipe.steps import Step
from palmtop.search.addressed import Addressed, addressed, together

FILE = "prices.jsonl"
MADE = ".untrained"
"""Below the folder of prices: models that learnt nothing, until all are priced."""
NO_FILES = ("torch", "linear", "app")
"""Formats that are no files for a device of their own: an app's costs are those of the file in it."""


class Costs(BaseModel):
    """What a file costs on a target, whatever it answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_bytes: int
    """Weights and graph: the column MB of a table."""
    ms: float | None = None
    """Median time of one answer; None where none was taken: `why`."""
    ms_low: float | None = None
    ms_high: float | None = None
    load_ms: float | None = None
    memory_mb: float | None = None
    why: str | None = None
    """Why there is no time, or why it doesn't hold."""
    kind: str = "measured"
    """Of the times, as a target says it."""
    timed_at: dict[str, Any] = {}
    """Length, threads and runs of the times."""
    refused: tuple[str, ...] = ()
    """What delegates refuse in the file, a line for each rule."""


class Price(BaseModel):
    """What was found for a file on a target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    """sha256 of all that it depends on."""
    step: str
    """As its recipe calls it."""
    format: str
    target: str
    about: tuple[str, ...] = ()
    """Why the bytes are those of a file like it; none where they are its own exactly."""
    costs: Costs
    date: str


@dataclass(frozen=True)
class Asked:
    """A file of a recipe whose price is asked for."""

    recipe: Recipe
    step: str
    """As the recipe calls it."""
    steps: Addressed
    """All of the recipe's."""

    @property
    def address(self) -> str:
        """The step's own name, whatever recipe it is in."""
        return self.steps.steps[self.step].name

    def way(self) -> list[Step]:
        """The steps to the file, and its own."""
        return self.steps.needed([self.step])


Weigh = Callable[[Mapping[str, Bundle], MeasureText, Path, Say], Mapping[tuple[str, str], Costs]]
"""(bundles by name, what to measure on, a folder for the measurements, say) -> costs by name and target."""


@dataclass
class Priced:
    """What came of asking."""

    prices: dict[tuple[str, str], Price] = field(default_factory=dict)
    """By the step's address and target."""
    made: Attempt = field(default_factory=Attempt)
    """What became of the steps that had to be made."""

    def of(self, asked: Asked) -> list[Price]:
        """The prices of one file, target by target."""
        return [price for (address, _), price in self.prices.items() if address == asked.address]


@dataclass(frozen=True)
class Pricing:
    """Finds prices, and keeps them."""

    folder: Path
    """Where they are kept, and where nothing that is trained lies."""
    options: MeasureText
    """On which targets, at which length, with how many threads and runs."""
    weigh: Weigh
    say: Say

    def of(self, asked: Sequence[Asked]) -> Priced:
        """The prices of some files: those that are known, and for the others models that learn nothing, made and
        weighed side by side."""
        known, wanted = self._known(), self._wanted(asked)
        found = Priced({place: known[key] for place, key in wanted.items() if key in known})
        todo = {one.address: one for one in asked if any(self._lacks(one, wanted, known))}
        if not todo:
            return found
        steps = [replace(step, stage=step.stage.untrained()) for step in together(one.way() for one in todo.values())]
        found.made = attempt(steps, self.folder / MADE, self.say)
        bundles = {address: found.made.bundles[address] for address in todo if address in found.made.bundles}
        if bundles:
            self._add(found, self._weighed(bundles), todo, wanted)
        return found

    def _weighed(self, bundles: Mapping[str, Bundle]) -> Mapping[tuple[str, str], Costs]:
        return self.weigh(bundles, _how(self.options), self.folder / MADE, self.say)

    def _add(
        self,
        found: Priced,
        weighed: Mapping[tuple[str, str], Costs],
        todo: Mapping[str, Asked],
        wanted: Mapping[tuple[str, str], str],
    ) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for place, costs in weighed.items():
            address, on = place
            one = todo[address]
            unsure = [f"{step.use}: {why}" for step in one.way() if (why := step.stage.about())]
            found.prices[place] = Price(
                key=wanted[place],
                step=one.step,
                format=one.recipe.outlines[one.step].format,
                target=on,
                about=tuple(unsure),
                costs=costs,
                date=now,
            )
        kept = self._known() | {price.key: price for price in found.prices.values()}
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(self.folder / FILE, "".join(f"{price.model_dump_json()}\n" for price in kept.values()))

    def _wanted(self, asked: Iterable[Asked]) -> dict[tuple[str, str], str]:
        """The keys of what is asked for, by address and target."""
        machines = {on: _machine(on) for on in self.options.on}
        return {
            (one.address, on): self._key(one, on, machines[on]) for one in asked for on in targets_of(one, self.options)
        }

    def _lacks(self, one: Asked, wanted: Mapping[tuple[str, str], str], known: Mapping[str, Price]) -> Iterable[bool]:
        return (key not in known for (address, _), key in wanted.items() if address == one.address)

    def _key(self, one: Asked, on: str, machine: Mapping[str, Any]) -> str:
        """Of the settings of every step to the file, all that these read, the versions that make it, and what it is run
        on and how."""
        options = self.options
        said = [
            [[step.name, _inputs(step), _versions(step)] for step in one.way()],
            one.recipe.task.digest if one.recipe.task is not None else None,
            [on, machine, options.length, options.threads, options.runs],
        ]
        return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()

    def _known(self) -> dict[str, Price]:
        """Prices that are kept, by key; a line that a killed process left unfinished is none."""
        try:
            lines = (self.folder / FILE).read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        return {price.key: price for line in lines if (price := _read(line)) is not None}


def price(
    asked: Sequence[Asked], folder: Path, weigh: Weigh, say: Say
) -> tuple[list[tuple[Asked, list[Price]]], Attempt]:
    """The prices of files, of each target by target, in the order asked; and what became of the steps that had to be
    made for them. Files that are measured alike are timed side by side."""
    alike: dict[str, list[Asked]] = {}
    for one in asked:
        alike.setdefault(_how(one.recipe.measure).model_dump_json(), []).append(one)
    found: dict[int, list[Price]] = {}
    made = Attempt()
    for group in alike.values():
        pricing = Pricing(folder, _how(group[0].recipe.measure), weigh, say)
        priced = pricing.of(group)
        found |= {id(one): priced.of(one) for one in group}
        made.bundles |= priced.made.bundles
        made.failed |= priced.made.failed
        made.left_out |= priced.made.left_out
    if not made.failed:
        shutil.rmtree(folder / MADE, ignore_errors=True)
    return [(one, found[id(one)]) for one in asked], made


def files_of(recipe: Recipe) -> list[Asked]:
    """The files that a recipe's `measure` is about: those for a device.

    Raises:
        UserError: there are none, or what they are made by can't be priced, by name and with what to do instead.
    """
    chosen = recipe.measure.bundles or tuple(recipe.outlines)
    steps = addressed(recipe.steps)
    asked = [
        Asked(recipe, name, steps)
        for name in recipe.outlines
        if name in chosen and recipe.outlines[name].format not in NO_FILES
    ]
    if not asked:
        raise UserError(
            f"{recipe.name}: nothing to price: no step exports a file for a device; add one, as 'to_tflite'"
        )
    faults = {fault: None for one in asked for fault in _faults(one)}
    raise_all(list(faults))
    return asked


def targets_of(asked: Asked, options: MeasureText) -> list[str]:
    """The targets that run the file."""
    form = asked.recipe.outlines[asked.step].format
    return [on for on in options.on if form in target.find(on).formats]


def _faults(asked: Asked) -> list[str]:
    names = {step.name: name for name, step in asked.steps.steps.items()}
    faults = [
        f"step '{names[step.name]}' ({step.use}) can't be priced: {why}"
        for step in asked.way()
        if (why := step.stage.unpriced())
    ]
    if not targets_of(asked, asked.recipe.measure):
        form = asked.recipe.outlines[asked.step].format
        own = file_format.find(form).target or "converted"
        faults.append(f"step '{asked.step}' is {form}, which no target of measure: on runs: add --on {own}")
    return faults


def _how(measure: MeasureText) -> MeasureText:
    """What of it says how costs are taken; names of steps don't."""
    return MeasureText(on=measure.on, length=measure.length, threads=measure.threads, runs=measure.runs)


def _inputs(step: Step) -> dict[str, str]:
    """What a step reads besides other steps' bundles, which have their own inputs."""
    return {} if step.bundles else step.stage.inputs()


def _versions(step: Step) -> dict[str, str]:
    return stages.versions(type(step.stage))


def _machine(on: str) -> dict[str, Any]:
    found = target.find(on)
    return found.machine().as_dict() if found.missing() is None else {}


def _read(line: str) -> Price | None:
    try:
        return Price.model_validate_json(line)
    except ValidationError:
        return None
