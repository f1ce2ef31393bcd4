"""Training: the settings of every stage that trains, its rates and epochs given or chosen."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.effort import Effort
from palmtop.stage import Outline, Stage

if TYPE_CHECKING:
    from palmtop.task import Split

NEW_HEAD = 10.0
"""Rate of a head that starts from random numbers, as a multiple of what pretrained weights learn at."""
WITH_TRIALS = 1.5
"""What a training and the trials that choose its rate cost at most, as a multiple of the training (rate_trial)."""
FEW = 64
"""Rows that a training which learns nothing looks at: its teacher needn't answer more."""
WIDE = 700
"""From this hidden size on, models want a third of the rate that small ones learn best at."""


@dataclass(frozen=True)
class Schedule:
    """How long a training is, and how fast."""

    epochs: float
    """Passes over the data; where `best` is set, at most."""
    rates: tuple[float, ...]
    """The highest rate; or several, of which a trial on the validation split chooses."""
    best: bool = False
    """Keep the weights of the epoch that does best on the validation split, and stop when it gets no better."""

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on a validation split."""
        return self.best or len(self.rates) > 1


class AnyTraining(Stage, ABC):
    """The settings of every stage that trains."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "teaches"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "tokenizers", "tensorboard")
    distributed: ClassVar[bool] = True
    threaded: ClassVar[bool] = True
    on_gpu: ClassVar[bool] = True
    # The student and the teacher, gradients, AdamW's two moments, the best weights so far; and what a batch leaves in
    # the layers, which may be as much.
    copies_in_memory: ClassVar[float] = 12.0

    batch_size: int = Field(default=32, ge=1)
    """Texts behind one optimizer step, over all processes and accumulated batches together."""
    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients are added up before a step, to fit a large batch_size into memory."""
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

    @property
    def chooses_besides(self) -> bool:
        """Whether something other than rates and epochs is chosen on a validation split."""
        return False

    @abstractmethod
    def schedule(self, rows: int, width: int) -> Schedule:
        """Epochs and rates for so many rows and a model of this hidden size."""

    def rows_of(self, split: "Split") -> "Split":
        """The rows that it learns from; a few of them where it learns nothing."""
        import numpy as np

        return split if self.learns else split.take(np.arange(min(FEW, len(split))))

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """Every epoch takes each text through all layers of the result."""
        layers = self.outline(source).layers if source is not None else None
        return Effort(training=sum(self._phases(rows).values()) * (layers or 0), seconds=self.usual_seconds)

    def shortened(self, share: float, rows: int) -> Self:
        """Fewer epochs of each phase, two digits of them; less than one epoch goes over a part of the texts."""
        less = {name: float(f"{epochs * share:.2g}") for name, epochs in self._phases(rows).items()}
        return self.model_copy(update=less)

    def _phases(self, rows: int) -> dict[str, float]:
        """The settings that are epochs of a phase, and how many they are for so many rows."""
        named = [name for name in type(self).model_fields if name == "epochs" or name.endswith("_epochs")]
        return {name: float(getattr(self, name)) for name in named}


class GivenRates(AnyTraining, ABC):
    """Epochs and rates as they are written, whatever the data: all epochs are trained, and the last weights kept."""

    epochs: float = Field(default=3, gt=0, le=1000)
    """Passes over the training data."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """AdamW's highest rate; it falls linearly to 0."""
    head_rate: float = Field(default=1.0, gt=0)
    """The new head's rate as a multiple of learning_rate."""

    def schedule(self, rows: int, width: int) -> Schedule:
        """What is written."""
        return Schedule(self.epochs, (self.learning_rate,))


class ChosenRates(AnyTraining, ABC):
    """Epochs and rates chosen for the data, on its validation split: the task's own, or else a tenth of the training
    rows, always the same ones, which are then not trained on. Of fewer than 300 rows none is held out, and nothing
    chosen. A number fixes what it is given for."""

    rates_tried: ClassVar[tuple[float, ...]]
    """The rates that a model narrower than WIDE tries, ascending."""
    steps_wanted: ClassVar[int]
    """Optimizer steps that are enough for most data."""
    epoch_bounds: ClassVar[tuple[int, int]]
    """Fewest and most epochs that make them."""

    epochs: Annotated[float, Field(gt=0, le=1000)] | Literal["auto"] = "auto"
    """Passes over the training data. auto: so many that few rows are seen often, and of them the one that does best on
    the validation split is kept; a number: all are trained, and the last weights kept."""
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """AdamW's highest rate; it falls linearly to 0. auto: the best of three in a short trial on the validation split,
    which costs half a training at most."""
    head_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """The new head's rate as a multiple of learning_rate; auto: 10 where that is chosen, 1 where it is given."""

    @property
    def chooses(self) -> bool:
        """Whether anything is chosen on a validation split."""
        return "auto" in (self.epochs, self.learning_rate) or self.chooses_besides

    def schedule(self, rows: int, width: int) -> Schedule:
        """What is written, and for auto what suits the rows and the model."""
        rates = tuple(float(f"{rate / 3 if width >= WIDE else rate:.2g}") for rate in self.rates_tried)
        return Schedule(
            self.passes(rows),
            rates if self.learning_rate == "auto" else (self.learning_rate,),
            best=self.epochs == "auto",
        )

    def passes(self, rows: int) -> float:
        """Epochs over so many rows: few rows make few steps, in which a new head hardly learns."""
        if self.epochs != "auto":
            return self.epochs
        fewest, most = self.epoch_bounds
        return min(max(math.ceil(self.steps_wanted / max(1, math.ceil(rows / self.batch_size))), fewest), most)

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """The training, and the trials that choose its rate."""
        whole = super().effort(source, rows)
        return whole and replace(whole, training=whole.training * (WITH_TRIALS if self.learning_rate == "auto" else 1))

    def rate_of_head(self, new: bool) -> float:
        """The head's rate as a multiple of the others'."""
        if self.head_rate != "auto":
            return self.head_rate
        return NEW_HEAD if new and self.learning_rate == "auto" else 1.0

    def _phases(self, rows: int) -> dict[str, float]:
        return {"epochs": self.passes(rows)}


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
