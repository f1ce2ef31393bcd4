"""What the stages that match layers have in common: the student, the matches, a training on them, and one on the
teacher's answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from palmtop.bundle import Bundle
from palmtop.compress.distillation.distilling_stage import Lesson, new_head_of
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.layer_transfer_settings import LayerTransferSettings
from palmtop.compress.distillation.matches import STATES, Match, Pair, check
from palmtop.compress.distillation.student import check_family, make_student
from palmtop.compress.distillation.teachers import Teaching, fine_tuned, width_fault
from palmtop.compress.learning.layer_choice import explicit_map, uniform_map
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.errors import UserError
from palmtop.models.family import check_kept, head_count
from palmtop.models.opening import open_with_head
from palmtop.stage import Outline, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LayerTransferStage(LayerTransferSettings, ABC):
    """A student that imitates layers of its teacher, and then (or at once) its answers."""

    method: ClassVar[str]
    """The stage's name, for messages."""

    @abstractmethod
    def chosen_matches(self, pair: Pair) -> Sequence[Match]:
        """The matches for these two models."""

    def chosen_layers(self, teacher_layers: int) -> list[int]:
        """The teacher's layers (0-based) that the student starts from.

        Raises:
            UserError: there are not so many, or a list or a map that doesn't fit.
        """
        as_any = super().chosen_layers(teacher_layers)
        if self.choose is not None or isinstance(self.layers, tuple):
            return as_any
        imitated = self._map(teacher_layers, len(as_any))
        whole = len(set(imitated)) == len(as_any)  # a map may name a layer twice, or not be there
        return [layer - 1 for layer in imitated] if whole else as_any

    def outline(self, source: Outline | None) -> Outline:
        """The teacher with fewer layers, and narrower where asked."""
        teacher = fine_tuned(self.method, source, self.task)
        assert teacher.layers is not None and teacher.family is not None  # `fine_tuned` has looked
        self.check_more(teacher.task)
        if self.teacher is not None:
            return teacher  # it is the student; `beside_faults` compares the two
        chosen, width = self.chosen_layers(teacher.layers), teacher.width or self.width or 1
        layers = len(chosen)
        if self.sizes.any:
            check_family(teacher.family, teacher.changes)
        else:
            check_kept(teacher.family, chosen)
        pair = Pair(
            teacher.family, teacher.layers, layers, width, self.width or width, 1, 1, self._map(teacher.layers, layers)
        )
        check(self.chosen_matches(pair), pair)  # heads (1 here) are compared when the models are there
        return replace(teacher, layers=layers, layer_sets=None, width=self.width or teacher.width)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the student, ask the teacher, train, and write a Hugging Face folder."""
        from palmtop.compress.distillation.transfer_training import Comparison, TransferTraining  # brings torch

        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        teacher = teaching.model
        student, copied = self.student(source, teaching)
        matches = self._checked_matches(teacher, student)
        comparison = Comparison(matches, teacher, student)
        comparison.check()
        lesson = self.lesson(self.rows_of(teaching.task.load("train")), source, teaching, work)
        _check_tokens(matches, lesson)
        data, head = lesson.data, new_head_of(source)
        with unchanged(teacher):
            asked = self.ask_for(
                lesson,
                teaching,
                [*comparison.hidden_layers, *self.last(teacher.config.num_hidden_layers)],
                self.passes,
                work,
            )
            facts = TransferTraining(self, teaching.task, student, data, comparison, asked, head).run(work)
        write_classifier(student, source, teaching.task, teaching.signature, work.out)
        return (
            facts
            | data.facts()
            | copied
            | {
                "matches": [match.model_dump(exclude_none=True) for match in matches],
                "teacher": teaching.bundle.digest,
            }
        )

    def beside_faults(self, source: Outline, besides: Mapping[str, Outline]) -> list[str]:
        """Why the teacher that is named can't teach the source."""
        faults, teacher = super().beside_faults(source, besides), besides.get("teacher")
        if faults or teacher is None:
            return faults
        try:
            check(self.chosen_matches(pair := self._pair_of(source, teacher)), pair)
        except UserError as error:
            faults += error.faults
        fault = width_fault(source, teacher) if self.cosine_weight else None
        return faults + ([fault] if fault else [])

    def student(self, source: Bundle, teaching: Teaching) -> "tuple[PreTrainedModel, dict[str, Any]]":
        """The student before it learns, and which layers it has of its teacher."""
        if self.teacher is not None:
            return open_with_head(source.path), {}
        copied = self.chosen_layers(teaching.model.config.num_hidden_layers)
        made = make_student(teaching.model, copied, self.sizes, self.seed)
        return made, {"layers_copied": [] if self.sizes.any else copied}

    def _pair_of(self, student: Outline, teacher: Outline) -> Pair:
        """What is known of two bundles before they are opened; heads (1 here) are compared when the models are there.

        Raises:
            UserError: a map of layers that doesn't fit.
        """
        assert teacher.family is not None and teacher.layers is not None and student.layers is not None  # compared
        width = teacher.width or student.width or 1
        return Pair(
            teacher.family,
            teacher.layers,
            student.layers,
            width,
            student.width or width,
            1,
            1,
            self._map(teacher.layers, student.layers),
            student.family,
        )

    def _map(self, teacher_layers: int, student_layers: int) -> tuple[int, ...]:
        if self.layer_map is not None:
            return tuple(explicit_map(self.layer_map, teacher_layers, student_layers))
        return tuple(uniform_map(teacher_layers, student_layers)) if self.maps_layers() else ()

    def maps_layers(self) -> bool:
        """Whether the matches follow a map of layers."""
        return True

    def _checked_matches(self, teacher: "PreTrainedModel", student: "PreTrainedModel") -> list[Match]:
        theirs, ours = teacher.config, student.config
        pair = Pair(
            theirs.model_type,
            theirs.num_hidden_layers,
            ours.num_hidden_layers,
            theirs.hidden_size,
            ours.hidden_size,
            head_count(theirs),
            head_count(ours),
            self._map(theirs.num_hidden_layers, ours.num_hidden_layers),
            ours.model_type,
        )
        matches = list(self.chosen_matches(pair))
        check(matches, pair)
        return matches


def _check_tokens(matches: Sequence[Match], lesson: Lesson) -> None:
    """Raises: UserError: matches of how tokens stand to each other, between models with other tokenizers."""
    if lesson.readings is None or lesson.readings.alike:
        return
    between = dict.fromkeys(match.feature for match in matches if match.feature not in STATES)
    if between:
        raise UserError(
            f"{', '.join(between)} can't be compared: the teacher has another tokenizer than the student, and how its "
            "tokens stand to each other can't be said of theirs; take hidden states instead (transfer with matches: "
            "hidden; tinybert with attention_weight: 0), which are aligned by characters, or 'distill'"
        )
