"""Recipe: a list of stages, read and checked whole before work starts, run step by step."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from palmtop import stage as stages
from palmtop import target
from palmtop.bundle import Bundle, Format
from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.making import Say
from palmtop.measure_settings import ChartText, MeasureText
from palmtop.recipe.attempt import Attempt, Attempting, attempt
from palmtop.recipe.in_time import FILE as MINUTES
from palmtop.recipe.in_time import Ahead
from palmtop.recipe.search_text import SearchText
from palmtop.recipe.step_bundles import setting_faults, stand_ins, step_faults
from palmtop.recipe.steps import Step, StepText, Written, expanded
from palmtop.settings import Settings, build
from palmtop.stage import Outline, Stage
from palmtop.task import Task
from palmtop.task_notes import noticed
from palmtop.yaml_file import read_mapping

SHIPPED = Path(__file__).parents[1] / "recipes"
FLOOR = "floor"
"""The step that every recipe of a classification task has: TF-IDF and a linear model on the same data."""


KEPT = (
    "measurements.jsonl",
    "measure.json",
    "predictions",
    "table.md",
    "table.csv",
    "table.json",
    "tokens.md",
    "seeds.md",
    "chart.png",
    "chart.svg",
    "chart.md",
    MINUTES,
)
"""What a run leaves in its folder beside the bundles."""


class RecipeText(Settings):
    """A recipe as it stands in the YAML."""

    task: str | dict[str, Any] | None = None
    """A shipped task's name, a task's YAML file, or a task written out here."""
    seed: int = 0
    minutes: float | None = Field(default=None, gt=0)
    """What a run may take on the machine it runs on: epochs are cut until it fits; by default as long as it takes."""
    steps: tuple[StepText, ...] = Field(min_length=1)
    measure: MeasureText = MeasureText()
    search: SearchText | None = None
    """Where 'palmtop search' looks; 'run' makes the steps alone."""


@dataclass(frozen=True)
class Recipe:
    """Steps in the order they are run, and what is measured after them."""

    name: str
    steps: tuple[Step, ...]
    measure: MeasureText
    task: Task | None
    notes: tuple[str, ...] = ()
    """What of the task's data is no fault but may not be meant, a line each."""
    outlines: Mapping[str, Outline] = field(default_factory=dict)
    """Of what each step makes."""
    minutes: float | None = None
    """What the run may take; None: as long as it takes."""

    @classmethod
    def read(cls, reference: str, task: str | None = None) -> Self:
        """Read a shipped recipe by name, or a YAML file, and check the whole of it.

        Args:
            task: another task than the recipe's: a shipped name, or a YAML file.

        Raises:
            UserError: all faults together: unknown stages and settings with the nearest right names, values out of
                range, steps that don't fit each other, missing files and packages, faults in the task's data, texts of
                evaluation that are all trained on, targets this machine lacks.
        """
        text, path = read_text(reference, task)
        return cls.of(text, path, other_task=task is not None)

    @classmethod
    def of(cls, text: RecipeText, path: Path, other_task: bool = False) -> Self:
        """Check what stands, or could stand, in the file `path`.

        Args:
            other_task: whether the task is another than the file's, so that the run is called by it too.

        Raises:
            UserError: as `read` does.
        """
        faults: list[str] = []
        meant = expanded(text.steps, faults)
        found, notes = _task(text, path.parent.resolve(), faults)
        steps = _steps(text, meant, found, path.parent.resolve(), faults)
        written = list(dict.fromkeys([*(step.text.name for step in meant), *(step.name for step in steps)]))
        outlines = _check_fit(steps, written, faults)
        _check_measure(text.measure, written, {outline.format for outline in outlines.values()}, faults)
        raise_all(faults)
        notes = (*notes, *_unanswered(text.measure, outlines))
        name = f"{path.stem}-{found.name}" if other_task and found is not None else path.stem
        return cls(name, tuple(steps), text.measure, found, notes, outlines, text.minutes)

    def run(self, out: Path, say: Say) -> dict[str, Bundle]:
        """Make what is missing, in order, below the folder `out`; return every step's bundle.

        Raises:
            UserError: steps failed, told with their reasons, once everything is made that doesn't follow from them.
        """
        made = self.attempt(out, say)
        raise_all(made.told())
        return made.bundles

    def attempt(self, out: Path, say: Say, minutes: float | None = None, attempting: Attempting = attempt) -> Attempt:
        """The same, for who goes on with what could be made: which steps failed is said instead of raised.

        Before the first training it is said how long all will take.

        Args:
            minutes: what the run may take, in place of the recipe's own.
            attempting: how steps are made: one after the other, or side by side.
        """
        ahead = Ahead(self.steps, self.outlines, self.task, bool(self.measure.on), attempting is not attempt)
        made = attempting(ahead.before_training(), out, say, None)
        return attempting(ahead.in_time(made, out, say, minutes or self.minutes), out, say, made)


def read_text(reference: str, task: str | None = None) -> tuple[RecipeText, Path]:
    """A shipped recipe by name, or a YAML file, as it stands, and its path; of its steps nothing is checked yet.

    Args:
        task: another task than the recipe's.

    Raises:
        UserError: there is none, or it isn't written as a recipe.
    """
    path = _find(reference)
    text = build(RecipeText, read_mapping(path), path.name)
    return (text if task is None else text.model_copy(update={"task": _absolute(task, Path.cwd())})), path


def shipped() -> dict[str, Path]:
    """Shipped recipes by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.yaml"))}


def summary(path: Path) -> str:
    """The comment that a recipe file starts with, its first line."""
    first = path.read_text(encoding="utf-8").split("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _find(reference: str) -> Path:
    if reference.endswith((".yaml", ".yml")):
        return Path(reference)
    if reference not in shipped():
        raise UserError(
            f"no recipe '{reference}'; {did_you_mean(reference, shipped())} (your own: the name of its .yaml file)"
        )
    return shipped()[reference]


def _task(text: RecipeText, folder: Path, faults: list[str]) -> tuple[Task | None, tuple[str, ...]]:
    """The task, where its data has no faults, and what there is to note about it."""
    if text.task is None:
        return None, ()
    try:
        task = Task.find(text.task, folder)
        seen = noticed(task, task.check())
    except UserError as error:
        faults += error.faults
        return None, ()
    faults += seen.faults
    return task, seen.notes


def _steps(
    text: RecipeText, meant: Sequence[Written], task: Task | None, folder: Path, faults: list[str]
) -> list[Step]:
    written = list(meant)
    if task is not None and task.of_kind.has_floor and all(step.text.use != "tfidf" for step in written):
        written.append(Written(StepText(name=FLOOR, use="tfidf"), ()))
    steps: list[Step] = []
    for number, (step, before) in enumerate((one.text, one.before) for one in written):
        if step.name in {other.text.name for other in written[:number]}:
            faults.append(f"two steps are called '{step.name}'; give each its own name")
        if step.name in KEPT:
            faults.append(f"a step can't be called '{step.name}': measuring writes that; give it another name")
        try:
            kind = stages.find(step.use)
            stages.versions(kind)
            faults += setting_faults(kind, step)
            made = build(
                kind, common(kind, text, folder) | stand_ins(kind, step) | step.settings, f"step '{step.name}'"
            )
        except UserError as error:
            faults += [
                fault if fault.startswith("step ") else f"step '{step.name}': {fault}"
                for fault in error.faults
                if fault not in faults
            ]
            continue
        if step.source is not None and not made.accepts:
            faults.append(f"step '{step.name}' ({step.use}) starts from nothing: remove its 'from'")
        if step.source is None and made.accepts and len(before) > 1:
            faults.append(
                f"step '{step.name}' comes after {len(before)} steps ('{before[-1]}' is the last): say with 'from' "
                "which one it starts from"
            )
        source = step.source or next(reversed(before), None)
        steps.append(Step(step.name, step.use, source if made.accepts else None, made, step.bundles))
    return steps


def common(kind: type[Stage], text: RecipeText, folder: Path) -> dict[str, Any]:
    """The recipe's own settings, for the stages that have them.

    Args:
        folder: of the recipe's file, where a task's relative name starts.
    """
    task = _absolute(text.task, folder) if text.task is not None else None
    return {
        name: value
        for name, value in (("task", task), ("seed", text.seed))
        if name in kind.model_fields and value is not None
    }


def _absolute(task: str | dict[str, Any], folder: Path) -> Any:
    if isinstance(task, str) and task.endswith((".yaml", ".yml")):
        return str(folder / task)
    return Task.find(task, folder).model_dump(mode="json", exclude_unset=True) if isinstance(task, dict) else task


def _check_fit(steps: list[Step], written: list[str], faults: list[str]) -> dict[str, Outline]:
    """Walk the recipe with outlines instead of bundles. A faulty step has none, and casts no further faults on those
    after it."""
    outlines: dict[str, Outline] = {}
    for step in steps:
        if step.source is not None and (fault := _order_fault(step.name, step.source, written)):
            faults.append(fault)
        if step.stage.accepts and step.source is None:
            faults.append(
                f"step '{step.name}' ({step.use}) needs a bundle to start from: put an 'adopt' step first, or name it "
                "with 'from'"
            )
        source = outlines.get(step.source) if step.source else None
        before, wanted = written[: written.index(step.name)], step.stage.besides(source)
        faults += step_faults(step.name, step.bundles, wanted, before, written, outlines)
        if step.stage.accepts and source is None:
            continue
        if source is not None and source.format not in step.stage.accepts:
            faults.append(
                f"step '{step.name}' ({step.use}) needs a {' or '.join(sorted(step.stage.accepts))} bundle, but "
                f"'{step.source}' is {source.format}"
            )
            continue
        try:
            stages.versions(type(step.stage), source.format if source else None)
            if not step.bundles:  # it would read what isn't there yet
                step.stage.inputs()
            stages.check_fit(step.use, step.stage, source)
            outlines[step.name] = step.stage.outline(source)
            if source is not None:
                besides = {name: outlines[other] for name, other in step.bundles.items() if other in outlines}
                faults += [f"step '{step.name}': {fault}" for fault in step.stage.beside_faults(source, besides)]
        except UserError as error:
            told = set(faults)  # the task's own
            faults += [f"step '{step.name}': {fault}" for fault in error.faults if fault not in told]
    return outlines


def _order_fault(name: str, source: str, written: list[str]) -> str | None:
    if source not in written:
        return f"step '{name}' is from '{source}', which is no step; {did_you_mean(source, written)}"
    if source == name:
        return f"step '{name}' is from itself: name another step, or leave 'from' out"
    if name in written and written.index(source) > written.index(name):
        return f"step '{name}' is from '{source}', which comes later; put it first"
    return None


def _check_measure(measure: MeasureText, written: list[str], formats: set[Format], faults: list[str]) -> None:
    for name in (measure.baseline, measure.teacher, *(measure.bundles or ())):
        if name is not None and name not in written:
            faults.append(f"measure: no step '{name}'; {did_you_mean(name, written)}")
    if measure.control is not None and not any(name.startswith(f"{measure.control}-") for name in written):
        faults.append(
            f"measure: control: no step with several seeds is called '{measure.control}': name one that has each: "
            f"{{seed: [...]}}"
        )
    if measure.chart is not None:
        _check_chart(measure.chart, written, faults)
    for name in measure.on:
        try:
            wanted = target.find(name)
        except UserError as error:
            faults += [f"measure: {fault}" for fault in error.faults]
            continue
        if wanted.formats & formats and (lack := wanted.missing()):
            faults.append(f"measure: {lack}; or leave '{name}' out of measure: on")


def _unanswered(measure: MeasureText, outlines: Mapping[str, Outline]) -> list[str]:
    """What is to be noted of targets that have BERT's tokenizer only, where no model's tokenizer is that."""
    found = []
    for name in measure.on:
        wanted = target.find(name)
        asked = [outline for outline in outlines.values() if outline.format in wanted.formats]
        if wanted.wordpiece_only and asked and all(outline.not_wordpiece for outline in asked):
            found.append(
                f"measure: {name} will answer with none of the models: {asked[0].not_wordpiece}; leave it out of "
                "measure: on. Browsers, and palmtop's Kotlin and TypeScript, take WordPiece, byte-level BPE and Unigram"
            )
    return found


def _check_chart(chart: ChartText, written: list[str], faults: list[str]) -> None:
    faults += [
        f"measure: chart: no step '{name}'; {did_you_mean(name, written)}"
        for name in chart.levels
        if name not in written
    ]
    faults += [
        f"measure: chart: no step is called like '{pattern}' (line '{line}'); {did_you_mean(pattern, written)}"
        for line, pattern in chart.lines.items()
        if not fnmatch.filter(written, pattern)
    ]
    if find_spec("matplotlib") is None:
        faults.append("measure: chart needs matplotlib: pip install 'palmtop[chart]'; or leave 'chart' out of measure")
