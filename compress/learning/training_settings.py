"""Training: the settings of every stage that trains, and `fit`, the only way in: seeds, resume, several processes."""

from abc import ABC
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.effort import Effort
from palmtop.stage import Outline, Stage


class AnyTraining(Stage, ABC):
    """The settings of every stage that trains."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "teaches"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "tokenizers", "tensorboard")
    distributed: ClassVar[bool] = True

    epochs: float = Field(default=3, gt=0, le=1000)
    """Passes over the training data."""
    batch_size: int = Field(default=32, ge=1)
    """Texts behind one optimizer step, over all processes and accumulated batches together."""
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step, to fit a large batch_size into memory."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """AdamW's highest rate; it falls linearly to 0."""
    head_rate: float = Field(default=1.0, gt=0)
    """The new head's rate as a multiple of learning_rate."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly from 0."""
    weight_decay: float = Field(default=0.01, ge=0)
    """On all weights but biases and norms."""
    max_length: int = Field(default=128, ge=4, le=8192)
    """Tokens after which a text is truncated, specials included; never more than the model has positions for."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the products of the forward and backward pass; weights, optimizer and losses are float32. auto: bfloat16 on a
    GPU or CPU that multiplies it natively (on a CPU from a hidden size of 128 on), float32 elsewhere."""
    checkpoint_every: int = Field(default=150, ge=1)
    """Steps between checkpoints: at most so much work is lost when the process is killed."""
    seed: int = 0

    def effort(self, source: Outline | None) -> Effort | None:
        """Every epoch takes each text through all layers of the result."""
        passes = sum(getattr(self, name) for name in self._epochs())
        layers = self.outline(source).layers if source is not None else None
        return Effort(training=passes * (layers or 0), seconds=self.usual_seconds)

    def shortened(self, share: float) -> Self:
        """Fewer epochs of each phase, two digits of them; less than one epoch goes over a part of the texts."""
        return self.model_copy(update={name: float(f"{getattr(self, name) * share:.2g}") for name in self._epochs()})

    def _epochs(self) -> list[str]:
        """The settings that are epochs of a phase, and numbers."""
        named = [name for name in type(self).model_fields if name == "epochs" or name.endswith("_epochs")]
        return [name for name in named if isinstance(getattr(self, name), int | float)]


class TrainingStage(AnyTraining, ABC):
    """The settings of every stage that trains for a task."""

    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""

    def pace(self, source: Bundle) -> float | None:
        """A few steps of the source with the task's head."""
        from palmtop.compress.learning.pace import Training, pace
        from palmtop.compress.learning.torch_bundles import task_of

        tried = Training(self.batch_size // self.accumulation, self.max_length, self.precision, self.seed)
        return pace(tried, task_of(source, self.task), source)
