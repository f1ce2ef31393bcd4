"""Distil a fine-tuned teacher into a student with fewer of its layers (DistilBERT's task form, Sanh et al. 2019)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import DistillationWeights, distillation_loss
from palmtop.compress.distillation.distilling_stage import DistillingStage, Lesson, new_head_of
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.teachers import Teaching, fine_tuned, width_fault
from palmtop.compress.distillation.windows import AskedByWindows, Windows
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.compress.learning.training_settings import ChosenRates
from palmtop.compress.learning.validation import Parts
from palmtop.compress.start.finetune import check_kind, learnt_by
from palmtop.families.family import Kind
from palmtop.models.family import check_kept
from palmtop.models.opening import keep_layers, open_with_head
from palmtop.settings import LATER
from palmtop.stage import Outline, Work
from palmtop.task import task_input
from palmtop.task_kinds import find

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Distill(DistillationWeights, DistillingStage, ChosenRates):
    """Copy some of the teacher's layers; learn its soft targets, the labels, and the direction of its last hidden
    states."""

    takes: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder"})
    chooses_copies: ClassVar[bool] = True
    rates_tried: ClassVar[tuple[float, ...]] = (1e-4, 2e-4, 4e-4)
    steps_wanted: ClassVar[int] = 1800
    epoch_bounds: ClassVar[tuple[int, int]] = (6, 24)

    teacher_overlap: Annotated[int | None, LATER, Field(ge=0)] = None
    """For texts longer than the named teacher takes: it reads them in windows, of which two neighbours share so many
    tokens, and its answer is the windows' mean. By default it reads their beginnings."""

    @model_validator(mode="after")
    def _whole_texts_in_windows(self) -> Self:
        if self.teacher_overlap is not None and (self.teacher is None or self.cosine_weight):
            raise ValueError(
                "teacher_overlap is for a teacher that is named, whose answers alone are learnt: name it, and set "
                "cosine_weight: 0"
            )
        return self

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, label_weight and cosine_weight are all 0: nothing would be learnt")
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here; those that are chosen by too."""
        return super().inputs() | task_input(self.task, self.chooses)

    def outline(self, source: Outline | None) -> Outline:
        """The teacher with fewer layers."""
        teacher = fine_tuned("distill", source, self.task)  # or, beside one that is named, its student
        assert teacher.layers is not None and teacher.family is not None  # `fine_tuned` has looked
        check_kind(teacher, self.max_length)
        self.check_more(teacher.task)
        if self.teacher is not None:
            return teacher
        chosen = self.chosen_layers(teacher.layers)
        check_kept(teacher.family, chosen)
        return replace(teacher, layers=len(chosen), layer_sets=None)

    def beside_faults(self, source: Outline, besides: Mapping[str, Outline]) -> list[str]:
        """Why the teacher that is named can't teach the source."""
        faults, teacher = super().beside_faults(source, besides), besides.get("teacher")
        if not faults and teacher is not None and self.cosine_weight and (fault := width_fault(source, teacher)):
            return [fault]
        kind = find(source.task) if source.task is not None else None
        if not faults and self.teacher_overlap is not None and kind is not None and (kind.per_token or kind.apart):
            return ["teacher_overlap is for answers to whole texts, of which windows have a mean: leave it out"]
        return faults

    def _ask_by_windows(self, lesson: Lesson, teaching: Teaching, overlap: int, work: Work) -> AskedByWindows:
        """The teacher's answers to the student's rows, which it reads whole."""
        windows = Windows.of(lesson.texts, teaching.bundle, overlap)
        work.say(
            f"{teaching.bundle.name} reads {len(lesson.texts):,} texts in {windows.first[-1]:,} windows of "
            f"{teaching.bundle.signature.max_length} tokens; the student is cut at {teaching.signature.max_length}, "
            f"which cuts {lesson.data.truncated:,} of them"
        )
        return AskedByWindows(self.ask(teaching.bundle, windows.read, (), self.passes(len(lesson.data)), work), windows)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the student, ask the teacher once, train, and write a Hugging Face folder."""
        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        last = teaching.model.config.num_hidden_layers
        student, copied = self.student(source, teaching)
        parts = Parts.of(teaching.task, self, work.say)
        judge = parts.judge(teaching.task, source.path, teaching.signature, work.say)
        lesson = self.lesson(parts.train, source, teaching, work)
        data = lesson.data
        loss = distillation_loss(self, teaching.task, self.cosine_weight)
        head = new_head_of(source)
        special = Special(head, self.rate_of_head(bool(head)))
        with unchanged(teaching.model):
            said = (
                self.ask_for(lesson, teaching, self.last(last), self.passes(len(data)), work)
                if self.teacher_overlap is None
                else self._ask_by_windows(lesson, teaching, self.teacher_overlap, work)
            )
            fitted = fit(student, data, loss, self, work.scratch, said.batch, special, judge)
        write_classifier(student, source, teaching.task, teaching.signature, work.out, held=parts.validation)
        keep_logs(work)
        learnt = learnt_by(teaching.task.of_kind, data) if self.label_weight else {}
        return fitted.facts() | said.facts() | data.facts() | learnt | copied | {"teacher": teaching.bundle.digest}

    def student(self, source: Bundle, teaching: Teaching) -> "tuple[PreTrainedModel, dict[str, Any]]":
        """The student before it learns, and which layers it has of its teacher."""
        if self.teacher is not None:
            return open_with_head(source.path), {}
        layers = self.chosen_layers(teaching.model.config.num_hidden_layers)
        return keep_layers(teaching.model, layers), {"layers_copied": layers}
