"""What the stages that match layers have in common: the student, the matches, a training on them, and one on the
teacher's answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from palmtop.bundle import Bundle
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.layer_transfer_settings import LayerTransferSettings
from palmtop.compress.distillation.matches import Match, Pair, check
from palmtop.compress.distillation.student import check_family, make_student
from palmtop.compress.distillation.teachers import fine_tuned
from palmtop.compress.learning.layer_choice import explicit_map, uniform_map
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.models.family import check_kept, head_count
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
        copied = self.chosen_layers(teacher.config.num_hidden_layers)
        student = make_student(teacher, copied, self.sizes, self.seed)
        matches = self._checked_matches(teacher, student)
        comparison = Comparison(matches, teacher, student)
        comparison.check()
        data = self.training_data(self.rows_of(teaching.task.load("train")), source, teaching.signature, work)
        with unchanged(teacher):
            asked = self.ask(
                source,
                data,
                [*comparison.hidden_layers, *self.last(teacher.config.num_hidden_layers)],
                self.passes,
                work,
            )
            facts = TransferTraining(self, teaching.task, student, data, comparison, asked).run(work)
        write_classifier(student, source, teaching.task, teaching.signature, work.out)
        return (
            facts
            | data.facts()
            | {
                "layers_copied": [] if self.sizes.any else copied,
                "matches": [match.model_dump(exclude_none=True) for match in matches],
                "teacher": source.digest,
            }
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
        )
        matches = list(self.chosen_matches(pair))
        check(matches, pair)
        return matches
