"""Where a search's candidates are priced, made and graded; what two of them have in common is made once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from palmtop import format as file_format
from palmtop import making
from palmtop.bundle import Bundle
from palmtop.errors import UserError, raise_all
from palmtop.making import Say
from palmtop.recipe.attempt import Attempt, Attempting, attempt
from palmtop.recipe.recipe import Recipe
from palmtop.search.addressed import addressed, together
from palmtop.search.price import Asked, Price, Pricing, Weigh, files_of
from palmtop.search.space import Space
from palmtop.stage import Stage
from palmtop.task import Split, Task

MADE, PRICES, APP = "made", "prices", "app"
"""In a run's folder: the bundles, the prices, and the chosen file as an app has it."""

HALF = 0.5
"""A share of epochs that changes every stage that has some."""

Grade = Callable[[str, Bundle, str, Task, Split, Path], float]
"""(name, bundle, target, task, texts, a folder for the answers) -> the task's metric."""


@dataclass(frozen=True)
class Made:
    """A candidate that was made."""

    file: Bundle
    model_bytes: int
    training_seconds: float
    """Of its own steps that train."""
    apart_seconds: float
    """Of its own steps that don't."""


@dataclass(frozen=True)
class Workshop:
    """A space's candidates in a run's folder."""

    space: Space
    run: Path
    weigh: Weigh
    size: Callable[[Bundle], int]
    """Bytes of a file, as prices count them."""
    grade: Grade
    say: Say
    attempting: Attempting = attempt
    """How steps are made: one after the other, or side by side."""
    at_once: int = 1
    """Candidates that it is worth training at once."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each bundle took to make, by address: those that two share once."""

    @property
    def task(self) -> Task:
        """What is learnt. Raises: UserError: nothing."""
        if self.space.base.task is None:
            raise UserError("a search needs a task to choose by: name one in the recipe")
        return self.space.base.task

    @cached_property
    def validation(self) -> Split:
        """What is chosen by.

        Raises:
            UserError: the task has no such part.
        """
        if self.task.validation is None:
            raise UserError(
                f"a search chooses among many by a validation part, and the task '{self.task.name}' has none: name "
                "'validation' rows in it that are neither learnt from nor measured on"
            )
        return self.task.load("validation")

    @cached_property
    def rows(self) -> int:
        """Training texts."""
        return len(self.task.load("train"))

    def teacher(self) -> tuple[Bundle, float]:
        """The step that candidates start from, and its metric on the validation part.

        Raises:
            UserError: it can't be made.
        """
        steps = addressed(self.space.base.steps)
        made = self.attempting(steps.needed([self.space.source]), self.run / MADE, self.say, None)
        raise_all(made.told())
        self._note(made.bundles)
        found = made.bundles[steps.steps[self.space.source].name]
        return found, self._graded("teacher", found, file_format.judge("torch"))

    @property
    def teacher_seconds(self) -> float:
        """What the way to the teacher took."""
        steps = addressed(self.space.base.steps)
        return sum(self.seconds.get(step.name, 0) for step in steps.needed([self.space.source]))

    def price(self, recipe: Recipe) -> Price | str:
        """What a candidate's file costs, or why that isn't known."""
        [asked] = files_of(recipe)
        priced = Pricing(self.run / PRICES, recipe.measure, self.weigh, self.say).of([asked])
        found = priced.of(asked)
        return found[0] if found else "; ".join(priced.made.failed.values()) or "its file can't be weighed"

    def make(self, recipes: Sequence[Recipe]) -> list[Made | str]:
        """The files of candidates, or why one couldn't be made."""
        asked = [files_of(recipe)[0] for recipe in recipes]  # the last step's, each one's only file
        made = self.attempting(together(one.way() for one in asked), self.run / MADE, self.say, None)
        self._note(made.bundles)
        return [self._made(one, made) for one in asked]

    def graded(self, name: str, recipe: Recipe, file: Bundle) -> float:
        """The metric of a candidate's file on the validation part, on its target."""
        return self._graded(name, file, recipe.measure.on[0])

    def app(self, file: Bundle) -> Path:
        """The folder that an app takes the file from; the file's own where none is made of its format."""
        if file.format not in file_format.in_apps():
            return file.path
        try:
            return making.make_by_name("to_app", {}, file, self.run / APP, self.say).path
        except UserError as error:
            self.say(f"no folder for an app, the file alone: {'; '.join(error.faults)}")
            return file.path

    def _made(self, asked: Asked, made: Attempt) -> Made | str:
        way = asked.way()
        if failed := [made.failed[step.name] for step in way if step.name in made.failed]:
            return "; ".join(failed)
        given = {step.name for step in self.space.base.steps}
        own = [step for name, step in asked.steps.steps.items() if step in way and name not in given]
        training = sum(self.seconds[step.name] for step in own if self._has_epochs(step.stage))
        file, seconds = made.bundles[asked.address], sum(self.seconds[step.name] for step in own)
        return Made(file, self.size(file), training, seconds - training)

    def _graded(self, name: str, bundle: Bundle, on: str) -> float:
        return self.grade(name, bundle, on, self.task, self.validation, self.run)

    def _has_epochs(self, stage: Stage) -> bool:
        return stage.shortened(HALF, self.rows) != stage

    def _note(self, bundles: Mapping[str, Bundle]) -> None:
        self.seconds.update({name: float(one.card.facts.get("seconds", 0)) for name, one in bundles.items()})
