"""What the stages that match layers have in common: the student, the matches, a training on them, and one on the teacher's answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.finetune import write_classifier
from palmtop.compress.matching.answer_losses import DistillationWeights
from palmtop.compress.matching.distilling import DistillingStage
from palmtop.compress.matching.guards import unchanged
from palmtop.compress.matching.layer_choice import Choice, explicit_map, uniform_map
from palmtop.compress.matching.matches import Match, Pair, check
from palmtop.compress.matching.student import Sizes, check_family, make_student
from palmtop.compress.matching.teachers import fine_tuned
from palmtop.stage import Outline

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class LayerTransferStage(DistillationWeights, DistillingStage, ABC):
    """A student that imitates layers of its teacher, and then (or at once) its answers."""

    method: ClassVar[str]
    """The stage's name, for messages."""

    choose: Choice | None = None
    """Which layers a number of them means, as for distill; by default those that layer_map has the student's layers imitate, so that each
    starts as what it is to become (13 points of accuracy better than spread on MRPC, BENCHMARKS.md); without a map, spread."""
    width: int | None = Field(default=None, ge=1)
    """Of the student's hidden states; another one than the teacher's, like the next two, makes a student with random weights."""
    heads: int | None = Field(default=None, ge=1)
    """Of the student's attention; the teacher's by default."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Width inside the student's feed-forward parts; the teacher's by default."""
    layer_map: tuple[int, ...] | None = None
    """For each of the student's layers the teacher's layer that it imitates, the first being 1; by default the ends of equal blocks."""
    epochs: float = Field(default=5, gt=0, le=1000)
    """Passes over the training data while layers are imitated."""
    prediction: Literal["after", "together"] = "after"
    """When answers are imitated: in a second training, or as further terms of the first."""
    prediction_epochs: float = Field(default=3, gt=0, le=1000)
    """Passes of that second training."""
    prediction_rate: float | None = Field(default=None, gt=0)
    """Its learning_rate; the first one's by default."""
    cosine_weight: float = Field(default=0.0, ge=0)
    """Weight, beside the answers, of the cosine distance between last hidden states; for students as wide as their teacher."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, label_weight and cosine_weight are all 0: the student would never learn to answer")
        if self.sizes.any and isinstance(self.layers, tuple):
            raise ValueError("layers lists layers to copy, but a student of other widths copies none: give their number")
        if self.width and self.cosine_weight:
            raise ValueError("cosine_weight compares last hidden states, which differ in width: leave it 0, and match states by a "
                             "projection")
        return self

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
        layers, width = len(self.chosen_layers(teacher.layers)), teacher.width or self.width or 1
        if self.sizes.any:
            check_family(teacher.family, teacher.changes)
        pair = Pair(teacher.family, teacher.layers, layers, width, self.width or width, 1, 1,
                    self._map(teacher.layers, layers))
        check(self.chosen_matches(pair), pair)  # heads (1 here) are compared when the models are there
        return replace(teacher, layers=layers, layer_sets=None, width=self.width or teacher.width)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Make the student, ask the teacher, train, and write a Hugging Face folder."""
        from palmtop.compress.matching.transfer_training import Comparison, TransferTraining  # brings torch

        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        teacher = teaching.model
        copied = self.chosen_layers(teacher.config.num_hidden_layers)
        student = make_student(teacher, copied, self.sizes, self.seed)
        matches = self._checked_matches(teacher, student)
        comparison = Comparison(matches, teacher, student)
        comparison.check()
        data = self.training_data(teaching.task, source, teaching.signature, scratch)
        with unchanged(teacher):
            asked = self.ask(source, data, [*comparison.hidden_layers, *self.last(teacher.config.num_hidden_layers)], self.passes, scratch)
            facts = TransferTraining(self, teaching.task, student, data, comparison, asked).run(scratch, out)
        write_classifier(student, source, teaching.task, teaching.signature, out)
        return facts | data.facts() | {"layers_copied": [] if self.sizes.any else copied,
                        "matches": [match.model_dump(exclude_none=True) for match in matches]}

    @property
    def sizes(self) -> Sizes:
        """The student's widths, where they are its own."""
        return Sizes(self.width, self.heads, self.feed_forward)

    @property
    def passes(self) -> float:
        """How often each text is learnt from, over all phases."""
        return self.epochs + (self.prediction_epochs if self.prediction == "after" else 0)

    def _map(self, teacher_layers: int, student_layers: int) -> tuple[int, ...]:
        if self.layer_map is not None:
            return tuple(explicit_map(self.layer_map, teacher_layers, student_layers))
        return tuple(uniform_map(teacher_layers, student_layers)) if self.maps_layers() else ()

    def maps_layers(self) -> bool:
        """Whether the matches follow a map of layers."""
        return True

    def _checked_matches(self, teacher: "PreTrainedModel", student: "PreTrainedModel") -> list[Match]:
        theirs, ours = teacher.config, student.config
        pair = Pair(theirs.model_type, theirs.num_hidden_layers, ours.num_hidden_layers, theirs.hidden_size, ours.hidden_size,
                    theirs.num_attention_heads, ours.num_attention_heads, self._map(theirs.num_hidden_layers, ours.num_hidden_layers))
        matches = list(self.chosen_matches(pair))
        check(matches, pair)
        return matches
