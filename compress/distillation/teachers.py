"""Teachers: the source itself or a bundle that is named, whether a student can learn from it, and how it is asked."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.guards import check_inputs, check_labels, check_named_task, check_same_tokens
from palmtop.compress.distillation.keep_or_recompute import Asked, Budget, Way, ask
from palmtop.compress.distillation.more_texts import MoreTexts
from palmtop.compress.distillation.teacher_signals import Wanted
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import shortened, task_of
from palmtop.effort import Effort
from palmtop.errors import UserError
from palmtop.models.opening import open_with_head
from palmtop.settings import Settings
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class StatesKept(Settings, ABC):
    """The settings of every stage for which a teacher's hidden states are kept."""

    signals_dtype: Literal["float16", "float32"] = "float16"
    """In which the teacher's hidden states are kept on disk."""

    def wanted(self, hidden: Sequence[int]) -> Wanted:
        """The teacher's logits and the hidden states of some layers (indices of `hidden_states`)."""
        return Wanted(tuple(sorted(set(hidden))), self.signals_dtype)


@dataclass(frozen=True)
class Teaching:
    """A teacher: its model, its task, and the signature of its student."""

    model: "PreTrainedModel"
    task: Task
    signature: Signature
    """Of the student."""
    bundle: Bundle
    """That of the model."""


class TaughtBySource(StatesKept, MoreTexts, ABC):
    """The settings of every stage whose source teaches a student of another shape by its hidden states."""

    produces: ClassVar[Format] = "torch"

    teacher_signals: Way = "auto"
    """Keep the teacher's hidden states on disk, or compute them anew at each step; auto: whichever takes less time, as
    measured."""
    signals_limit_gb: float = Field(default=20.0, ge=0)
    """Most that auto keeps on disk, in GB (10^9 bytes)."""

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and what makes more of them."""
        return task_input(self.task) | self.more_inputs()

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """The student's training, and the teacher's answers once."""
        training = super().effort(source, rows)
        return training and replace(training, answering=self.times * float((source.layers if source else None) or 0))

    def became(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """Whether the teacher was asked once or at each step: its batches differ, and so does its rounding."""
        return {"teacher_signals": facts["signals"]} if self.teacher_signals == "auto" and "signals" in facts else {}

    def teaching(self, source: Bundle) -> Teaching:
        """Open the source.

        Raises:
            UserError: its labels aren't the task's, or it takes other inputs than its signature says.
        """
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        model = open_with_head(source.path)
        if task.of_kind.has_labels or not task.of_kind.per_token:
            check_labels(model.config.id2label, task)
        check_inputs(model.config, signature.inputs, source.name)
        return Teaching(model, task, signature, source)

    def ask(self, teacher: Bundle, data: Encoded, hidden: Sequence[int], passes: float, work: Work) -> Asked:
        """The teacher's logits and the hidden states of some layers (indices of `hidden_states`), for so many passes
        over the data."""
        return ask(
            teacher,
            data,
            self.wanted(hidden),
            Budget(self.teacher_signals, self.signals_limit_gb, passes),
            work.scratch,
            work.say,
        )


def fine_tuned(stage: str, source: Outline | None, task: str | dict[str, Any] | None) -> Outline:
    """The outline of a source that is to teach: it has a family, layers, and the labels of the task that the settings
    name.

    Raises:
        UserError: it has not.
    """
    if source is None or source.labels is None or source.layers is None or source.family is None:
        raise UserError(f"{stage} needs a teacher that was fine-tuned: put a 'finetune' step before it")
    check_named_task(source.labels, task)
    return source


def taught_faults(student: Outline, teacher: Outline) -> list[str]:
    """Why a bundle can't teach another that is its student already, as far as outlines tell: it has no task's head,
    another task's, or what it says can't be said of the student's tokens."""
    if teacher.labels is None or teacher.family is None or not teacher.layers:
        return ["the teacher has no head for a task: name a bundle that was fine-tuned"]
    if student.labels is None or student.family is None:
        return ["the source has no head for a task: put 'new_student' or 'finetune' before this step"]
    if (student.task, student.labels) != (teacher.task, teacher.labels):
        return [
            f"the teacher was trained for {_task_told(teacher)}, the source is for {_task_told(student)}: name a "
            "teacher of the same task"
        ]
    if student.task is not None and task_kinds.find(student.task).cut_rows_are_left_out:
        return [
            "answers to questions begin and end at the teacher's own tokens, in contexts cut where it cuts them: leave "
            "teacher out, and distil a student of its own layers"
        ]
    return []


def width_fault(student: Outline, teacher: Outline) -> str | None:
    """Why the last hidden states of the two can't be compared as they are."""
    if None in (student.width, teacher.width) or student.width == teacher.width:
        return None
    return (
        f"the teacher is {teacher.width} wide, the source {student.width}: their hidden states can't be compared; set "
        "cosine_weight: 0"
    )


def _task_told(outline: Outline) -> str:
    labels = outline.labels or ()
    return f"{(outline.task or 'no task').replace('_', ' ')} with {len(labels)} outputs ({', '.join(labels[:3])}, ...)"


def teacher_input(folder: str | None) -> dict[str, str]:
    """The teacher of a stage whose settings name one, by its role among the stage's inputs; nothing where they name
    none."""
    return {"teacher": Bundle.open(Path(folder)).digest} if folder is not None else {}


def named_teacher(folder: str, source: Bundle) -> Bundle:
    """The bundle in a folder that the settings name, which is to teach the source.

    Raises:
        UserError: it isn't a torch bundle, or its token ids mean other words.
    """
    teacher = torch_teacher(folder)
    check_same_tokens(teacher.path, source.path)
    return teacher


def torch_teacher(folder: str) -> Bundle:
    """The torch bundle in a folder that the settings name.

    Raises:
        UserError: it is of another format.
    """
    teacher = Bundle.open(Path(folder))
    if teacher.format != "torch":
        raise UserError(f"the teacher {teacher.name} is a {teacher.format} bundle: give a torch one")
    return teacher


def check_pair(student: "PreTrainedConfig", teacher: "PreTrainedConfig", task: Task, compared: bool) -> None:
    """Whether two models and a task belong together.

    Args:
        compared: whether the two's hidden states are, as they are.

    Raises:
        UserError: labels differ, or widths that are compared.
    """
    for config in (student, teacher):
        check_labels(config.id2label, task)
    if compared:
        check_same_width(student, teacher)


def check_same_width(student: "PreTrainedConfig", teacher: "PreTrainedConfig") -> None:
    """Whether the hidden states of the two can be compared.

    Raises:
        UserError: they differ in width.
    """
    if student.hidden_size != teacher.hidden_size:
        raise UserError(
            f"the teacher is {teacher.hidden_size} wide, the source {student.hidden_size}: their hidden states can't "
            "be compared; set cosine_weight: 0"
        )
