"""How well a bundle answers texts that a choice is made by: the task's metric alone, its answers kept."""

from pathlib import Path

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.eval.measuring.answers import answers
from palmtop.eval.measuring.plan import Subject
from palmtop.task import Split, Task


def grade(name: str, bundle: Bundle, on: str, task: Task, split: Split, folder: Path) -> float:
    """The task's metric of a bundle's answers to a split on a target; minus infinity where it isn't defined.

    Args:
        folder: where the answers are kept.
    """
    found = target.find(on)
    subject = Subject(name, bundle, found, found.machine().as_dict())
    given = answers(subject, split, task.of_kind, folder, threads=1).outputs
    graded = task.of_kind.graded(given, split.labels, split.texts, task.label_names)
    value = task.of_kind.scores(graded, split.labels, task.label_names)[task.main_metric].value
    return float("-inf") if value is None else value
