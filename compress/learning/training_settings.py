"""Training: the settings of every stage that trains, and `fit`, the only way in: seeds, resume, several processes."""

from abc import ABC
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from palmtop.bundle import Format
from palmtop.effect import Effect
from palmtop.stage import Stage

if TYPE_CHECKING:
    pass


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


class TrainingStage(AnyTraining, ABC):
    """The settings of every stage that trains for a task."""

    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""
