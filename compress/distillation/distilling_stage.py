"""What every stage that distils a fine-tuned teacher has in common: the student, fewer of its layers or a bundle of its
own, and more texts."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.distillation.across import Across, Readings
from palmtop.compress.distillation.augment import Augmentation, augmented_once
from palmtop.compress.distillation.guards import check_inputs, check_labels
from palmtop.compress.distillation.keep_or_recompute import Asked
from palmtop.compress.distillation.more_texts import MoreRows
from palmtop.compress.distillation.teachers import TaughtBySource, Teaching, taught_faults, teacher_input, torch_teacher
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.layer_choice import Choice, start_layers
from palmtop.errors import UserError, raise_all
from palmtop.models.opening import open_with_head
from palmtop.settings import LATER
from palmtop.signature import Signature
from palmtop.stage import Outline, Work, outline_of
from palmtop.task import Split
from palmtop.task_kinds import find


@dataclass(frozen=True)
class Lesson:
    """Texts as a student reads them, and, where its teacher is another bundle, as that one reads them."""

    texts: Split
    data: Encoded
    readings: Readings | None


def new_head_of(student: Bundle) -> tuple[str, ...]:
    """The modules of a student's head that are random numbers still, as its card says."""
    return tuple(student.card.facts.get("new_head", ()))


class DistillingStage(TaughtBySource, ABC):
    """A student that is taught by a fine-tuned teacher: some of its layers, or the source as it is."""

    teacher: Annotated[str | None, LATER] = None
    """Folder of the torch bundle that teaches, where the source is its student already, whatever the family, the widths
    and the tokenizer of the two (new_student makes one); in a recipe a step's, as 'with: {teacher: STEP}'. By default
    the source is the teacher, and some of its layers are the student."""
    layers: int | tuple[int, ...] | None = None
    """How many layers the student has, or which of the teacher's (0-based) it starts from; half of them by default."""
    choose: Choice | None = "spread"
    """Which layers a number means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""
    augment_with: str | None = None
    """Folder of a masked language model with its trained head, in the task's language: of augment: likely. Without
    augment it makes more texts of each as TinyBERT does: with the labels of the texts that they are made of."""
    augment_copies: Annotated[int, Field(ge=1, le=100)] | Literal["auto"] = 20
    """N: tries for each text, 1 to 100 (TinyBERT's paper: 20; its code: 10 to 30 by task); auto, of distill with
    augment: of 0, 2, 8 and 20 what does best on the validation split in short trainings."""
    augment_candidates: int = Field(default=15, ge=1, le=1000)
    """K: most likely words that a word is replaced from."""
    augment_probability: float = Field(default=0.4, gt=0, le=1)
    """p: probability that a word is replaced by a likely one."""

    @model_validator(mode="after")
    def _one_student(self) -> Self:
        if self.teacher is not None and self.layers is not None:
            raise ValueError("with a teacher the source is the student, whose layers are all kept: leave layers out")
        return self

    @property
    def _needs_likely(self) -> bool:
        return bool(self.augment)

    def check_more(self, kind: str | None) -> None:
        """The same for texts that are made with labels."""
        super().check_more(kind)
        if kind is not None and self.augment_with is not None and (lost := find(kind).lost_with_words):
            raise UserError(f"augment_with makes texts with other words, in which {lost} would be lost: leave it out")

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, what makes more of them, and a teacher that is named."""
        return super().inputs() | teacher_input(self.teacher)

    def beside_faults(self, source: Outline, besides: Mapping[str, Outline]) -> list[str]:
        """Why the teacher that is named can't teach the source."""
        teacher = besides.get("teacher")
        return taught_faults(source, teacher) if teacher is not None else []

    def teaching(self, source: Bundle) -> Teaching:
        """Open the teacher: the source, or the bundle that is named.

        Raises:
            UserError: it can't teach this student.
        """
        if self.teacher is None:
            return super().teaching(source)
        teacher = torch_teacher(self.teacher)
        raise_all(self.beside_faults(outline_of(source), {"teacher": outline_of(teacher)}))
        student = super().teaching(source)
        model = open_with_head(teacher.path)
        if student.task.of_kind.has_labels or not student.task.of_kind.per_token:
            check_labels(model.config.id2label, student.task)
        check_inputs(model.config, teacher.signature.inputs, teacher.name)
        return Teaching(model, student.task, student.signature, teacher)

    def lesson(self, split: Split, source: Bundle, teaching: Teaching, work: Work) -> Lesson:
        """The training texts, with those that were made of them, tokenized for all who read them."""
        teacher = teaching.bundle
        rows = self.more_rows(split, source, teaching.signature, work, teacher)
        if teacher.digest == source.digest:
            return Lesson(rows.split, rows.told(Encoded.of(rows.split, source.path, teaching.signature)), None)
        read = Readings.of(rows.split, source, teaching.signature, teacher)
        if not read.alike:
            work.say(
                f"{teacher.name} reads other tokens than {source.name}: {read.share:.1%} of the student's are covered "
                "by characters of the teacher's, the others learn nothing from it"
            )
        return Lesson(rows.split, rows.told(read.ours), read)

    def ask_for(
        self, lesson: Lesson, teaching: Teaching, hidden: Sequence[int], passes: float, work: Work
    ) -> Asked | Across:
        """The teacher's signals for the student's rows and tokens."""
        if lesson.readings is None:
            return self.ask(teaching.bundle, lesson.data, hidden, passes, work)
        return Across(self.ask(teaching.bundle, lesson.readings.theirs, hidden, passes, work), lesson.readings)

    def more_rows(
        self, split: Split, source: Bundle, signature: Signature, work: Work, teacher: Bundle | None = None
    ) -> MoreRows:
        """The training texts, those that were made of them with their labels, and after them those that the teacher
        alone labels."""
        if self.augment_with is not None and not self.augment and self.learns:
            augmentation = Augmentation(self.copies, self.augment_candidates, self.augment_probability, self.seed)
            split = augmented_once(split, Path(self.augment_with), augmentation, work.scratch, work.say)
        return super().more_rows(split, source, signature, work, teacher)

    def chosen_layers(self, teacher_layers: int) -> list[int]:
        """The teacher's layers (0-based) that the student starts from, where it is made of them.

        Raises:
            UserError: there are not so many, or a list that doesn't fit.
        """
        wanted = self.layers if self.layers is not None else max(1, teacher_layers // 2)
        return start_layers(wanted, self.choose or "spread", teacher_layers)
