"""What is to be measured: which bundles on which targets, by task, against which baseline and teacher."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from palmtop import format as file_format
from palmtop import target
from palmtop.bundle import Bundle
from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.eval.measuring.common_length import common_length
from palmtop.measure_settings import MeasureText
from palmtop.target import Target
from palmtop.task import Split, Task

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Subject:
    """A bundle on a target: a row of the table."""

    name: str
    bundle: Bundle
    target: Target
    machine: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.name} on {self.target.label}"


@dataclass(frozen=True)
class Plan:
    """The subjects of one task."""

    task_id: str
    """The task as measurements name it: name, version, digest of the evaluation data. Of several tasks that differ only
    in what is learnt from, the name of the first."""
    task: Task
    split: Split
    """The evaluation data."""
    bundles: dict[str, Bundle]
    """All that were given for this task, measured or not."""
    subjects: tuple[Subject, ...]
    baseline: Subject | None
    teacher: str | None
    """Name of a torch bundle."""
    length: int
    """Tokens at which latencies are compared."""
    _others: dict[str, Subject] = field(default_factory=dict)

    def baseline_for(self, subject: Subject) -> Subject | None:
        """What a subject's answers are set against: the baseline, and where its numbers are of another kind, the same
        bundle on a target whose numbers are of the subject's."""
        if self.baseline is None or self.baseline.target.kind == subject.target.kind:
            return self.baseline
        alike = [
            one for one in self.subjects if one.name == self.baseline.name and one.target.kind == subject.target.kind
        ]
        return min(alike, key=lambda one: one.target is not subject.target, default=None)

    def sample(self, subject: Subject) -> Int64[ndarray, " rows"] | None:
        """The rows of the split that a target answers which would take hours over all of it, spread evenly; None where
        it answers all."""
        most, rows = subject.target.answers_at_most(subject.bundle.path), len(self.split)
        return None if most is None or most >= rows else np.linspace(0, rows - 1, most).astype(np.int64)

    def torch_ancestor(self, bundle: Bundle) -> str | None:
        """The torch bundle that a bundle was made from, where it was given; a torch bundle is its own. No earlier one
        will do: what was pruned or trained in between answers otherwise.
        """
        return next((name for name, given in self.bundles.items() if given.digest == bundle.in_torch), None)

    def on_torch(self, name: str) -> Subject | str:
        """A torch bundle in torch, whether or not it is one of the subjects; or what this machine lacks for it."""
        known = next((one for one in self.subjects if one.name == name and one.target.kind == "measured"), None)
        if known:
            return known
        torch = target.find("host_torch")
        return torch.missing() or self._others.setdefault(
            name, Subject(name, self.bundles[name], torch, torch.machine().as_dict())
        )


def plans(bundles: Mapping[str, Bundle], options: MeasureText, say: Say, missing: Collection[str] = ()) -> list[Plan]:
    """One plan for each task's evaluation data: what learnt from other rows stands in the same table. What can't be
    measured is said.

    Args:
        missing: bundles that couldn't be made: `options` may name them, and no other takes their role.

    Raises:
        UserError: unknown names, packages or programs that a target lacks, nothing to measure; told together.
    """
    targets = {wanted: wanted.machine().as_dict() for wanted in _targets(bundles, options, missing)}
    given: dict[str, Task] = {}
    names: dict[tuple[int, str, str], str] = {}
    by_task: dict[str, dict[str, Bundle]] = {}
    for name, bundle in bundles.items():
        bundle.verify()
        task = _task(bundle, bundles.values())
        if task is None and bundle.format == "app":
            say(
                f"{name}: not measured, it is an app's folder, which doesn't know its task's texts: give the bundle "
                "it was made of too"
            )
            continue
        if task is None:
            say(f"{name}: not measured, it has no task (no task.json: it wasn't trained for one)")
            continue
        identity = names.setdefault((task.version, task.load("evaluation").digest, task.main_metric), task_id(task))
        given.setdefault(identity, task)
        by_task.setdefault(identity, {})[name] = bundle
    _check_comparable(options, by_task, missing)
    made = []
    for identity, task in given.items():
        subjects, of_task = _subjects(by_task[identity], targets, options, say), by_task[identity]
        teacher = None if options.teacher in missing else _teacher(of_task, options)
        timed = [(subject.bundle, subject.target) for subject in subjects if subject.target.runs]
        made.append(
            Plan(
                identity,
                task,
                task.load("evaluation"),
                of_task,
                tuple(subjects),
                None if options.baseline in missing else _baseline(subjects, options),
                teacher,
                options.length or common_length(task, of_task, teacher, timed),
            )
        )
    if not any(plan.subjects for plan in made):
        raise UserError(
            f"there is nothing to measure on {', '.join(options.on)}: name bundles that were trained for a task, and "
            "a target that runs their format"
        )
    return made


def task_id(task: Task) -> str:
    """A task as measurements name it: name, version, digest of the evaluation data."""
    return f"{task.name} v{task.version} {task.load('evaluation').digest[:16]}"


def _task(bundle: Bundle, given: Iterable[Bundle]) -> Task | None:
    """The task a bundle was trained for; an app's is that of its nearest ancestor among those given that has one."""
    if bundle.format != "app":
        return bundle.task
    others = {other.digest: other for other in given if other.format != "app"}
    tasks = (others[step.digest].task for step in reversed(bundle.lineage) if step.digest in others)
    return next(
        (task for task in tasks if task is not None), None
    )  # the pretrained model, the first of its ancestors, has none


def _targets(bundles: Mapping[str, Bundle], options: MeasureText, missing: Collection[str]) -> list[Target]:
    """The targets that are needed, after checking every name and what they lack."""
    faults = [
        f"measure: no bundle '{name}'; {did_you_mean(name, bundles)}"
        for name in (options.baseline, options.teacher, *(options.bundles or ()))
        if name is not None and name not in bundles and name not in missing
    ]
    teacher = bundles.get(options.teacher or "")
    if teacher is not None and teacher.format != "torch":
        faults.append(
            f"measure: the teacher '{options.teacher}' has the format {teacher.format}; name the torch bundle that it "
            "was made from"
        )
    baseline = bundles.get(options.baseline or "")
    if baseline is not None and baseline.format in file_format.not_run():
        faults.append(
            f"measure: the baseline '{options.baseline}' is {baseline.format}, which is converted, not run: name a "
            "bundle that answers"
        )
    formats, found = {bundle.format for bundle in bundles.values()}, []
    for name in options.on:
        try:
            wanted = target.find(name)
        except UserError as error:
            faults += [f"measure: {fault}" for fault in error.faults]
            continue
        if wanted.formats & formats:
            found.append(wanted)
            faults += [f"measure: {lack}; or leave '{name}' out" for lack in (wanted.missing(),) if lack]
    raise_all(faults)
    return found


def _subjects(
    bundles: Mapping[str, Bundle], targets: Mapping[Target, dict[str, Any]], options: MeasureText, say: Say
) -> list[Subject]:
    subjects: list[Subject] = []
    for name, bundle in bundles.items():
        if options.bundles is not None and name not in options.bundles:
            continue
        fitting = [
            Subject(name, bundle, wanted, machine)
            for wanted, machine in targets.items()
            if bundle.format in wanted.formats
        ]
        if not fitting:
            say(f"{name}: not measured, none of {', '.join(options.on)} runs {bundle.format}")
        for subject in fitting:
            if reason := subject.target.unable(bundle.path):
                say(f"{subject}: not measured, {reason}")
            else:
                subjects.append(subject)
    return subjects


def _baseline(subjects: list[Subject], options: MeasureText) -> Subject | None:
    """The bundle that was named, or the first .tflite; on the first target that runs it."""
    named = [subject for subject in subjects if subject.name == options.baseline]
    return next(iter(named or [subject for subject in subjects if subject.bundle.format == "tflite"]), None)


def _teacher(bundles: Mapping[str, Bundle], options: MeasureText) -> str | None:
    """The bundle that was named, or the first in torch that was fine-tuned."""
    if options.teacher in bundles:
        return options.teacher
    return next((name for name, bundle in bundles.items() if bundle.format == "torch" and _is_fine_tuned(bundle)), None)


def _is_fine_tuned(bundle: Bundle) -> bool:
    """Whether it was taught, and by no teacher. Who had one says so; cards of before say at least what became of the
    teacher's signals."""
    facts = bundle.card.facts
    return bundle.lineage[-1].effect == "teaches" and facts.get("teacher") is None and "signals" not in facts


def _check_comparable(
    options: MeasureText, by_task: Mapping[str, Mapping[str, Bundle]], missing: Collection[str]
) -> None:
    """A baseline and a teacher of different tasks, or of none, can't be compared with anything."""
    tasks = {
        f"the {role} '{name}'": next((task for task, given in by_task.items() if name in given), "no task")
        for role, name in (("baseline", options.baseline), ("teacher", options.teacher))
        if name is not None and name not in missing
    }
    if len(set(tasks.values())) > 1 or "no task" in tasks.values():
        raise UserError(
            "measure: "
            + " and ".join(f"{who} is of {task}" for who, task in tasks.items())
            + ": choose both among the bundles of one task"
        )
