"""The settings that the stages that match layers have in common: the student, the map of layers, the two trainings."""

from abc import ABC
from typing import Literal, Self

from pydantic import Field, model_validator

from palmtop.compress.distillation.answer_losses import DistillationWeights
from palmtop.compress.distillation.distilling_stage import DistillingStage
from palmtop.compress.distillation.student import Sizes
from palmtop.compress.learning.layer_choice import Choice
from palmtop.compress.learning.training_settings import GivenRates


class LayerTransferSettings(DistillationWeights, DistillingStage, GivenRates, ABC):
    """A student of its own widths or of copied layers, and when it imitates what."""

    choose: Choice | None = None
    """Which layers a number of them means, as for distill; by default those that layer_map has the student's layers
    imitate, so that each starts as what it is to become (13 points of accuracy better than spread on MRPC,
    BENCHMARKS.md); without a map, spread."""
    width: int | None = Field(default=None, ge=1)
    """Of the student's hidden states; another one than the teacher's, like the next two, makes a student with random
    weights."""
    heads: int | None = Field(default=None, ge=1)
    """Of the student's attention; the teacher's by default."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Width inside the student's feed-forward parts; the teacher's by default."""
    layer_map: tuple[int, ...] | None = None
    """For each of the student's layers the teacher's layer that it imitates, the first being 1; by default the ends of
    equal blocks."""
    epochs: float = Field(default=5, gt=0, le=1000)
    """Passes over the training data while layers are imitated."""
    prediction: Literal["after", "together"] = "after"
    """When answers are imitated: in a second training, or as further terms of the first."""
    prediction_epochs: float = Field(default=3, gt=0, le=1000)
    """Passes of that second training."""
    prediction_rate: float | None = Field(default=None, gt=0)
    """Its learning_rate; the first one's by default."""
    cosine_weight: float = Field(default=0.0, ge=0)
    """Weight, beside the answers, of the cosine distance between last hidden states; for students as wide as their
    teacher."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError(
                "soft_weight, label_weight and cosine_weight are all 0: the student would never learn to answer"
            )
        if self.sizes.any and isinstance(self.layers, tuple):
            raise ValueError(
                "layers lists layers to copy, but a student of other widths copies none: give their number"
            )
        if self.sizes.any and self.teacher is not None:
            raise ValueError("with a teacher the source is the student, and has its sizes: leave them out")
        if self.width and self.cosine_weight:
            raise ValueError(
                "cosine_weight compares last hidden states, which differ in width: leave it 0, and match states by a "
                "projection"
            )
        return self

    @property
    def sizes(self) -> Sizes:
        """The student's widths, where they are its own."""
        return Sizes(self.width, self.heads, self.feed_forward)

    @property
    def passes(self) -> float:
        """How often each text is learnt from, over all phases."""
        return self.epochs + (self.prediction_epochs if self.prediction == "after" else 0)
