"""What every stage that distils a fine-tuned teacher on the task's texts has in common: its layers, and how the teacher is asked."""

from abc import ABC
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.compress.matching.augment import Augmentation, augmented_once, weights_in
from palmtop.compress.matching.layer_choice import explicit_layers, published_layers, spread_layers
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task import Task
from palmtop.teacher import Wanted
from palmtop.teacher_cost import Asked, Budget, Way, ask
from palmtop.training import TrainingStage


class DistillingStage(TrainingStage, ABC):
    """A student of the teacher's family, taught by its signals."""

    produces: ClassVar[Format] = "torch"

    layers: int | tuple[int, ...] | None = None
    """How many layers the student has, or which of the teacher's (0-based) it starts from; half of them by default."""
    choose: Literal["spread", "lower", "published"] = "spread"
    """Which layers a number means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""
    teacher_signals: Way = "auto"
    """Keep the teacher's hidden states on disk, or compute them anew at each step; auto: whichever takes less time, as measured."""
    signals_limit_gb: float = Field(default=20.0, ge=0)
    """Most that auto keeps on disk, in GB (10^9 bytes)."""
    signals_dtype: Literal["float16", "float32"] = "float16"
    """In which the teacher's hidden states are kept on disk."""
    augment_with: str | None = None
    """Folder of a masked language model with its trained head, in the task's language, that makes more texts of each; none by default."""
    augment_copies: int = Field(default=20, ge=1, le=100)
    """N: texts that are made of each (TinyBERT's paper: 20; its code: 10 to 30 by task)."""
    augment_candidates: int = Field(default=15, ge=1, le=1000)
    """K: most likely words that a word is replaced from."""
    augment_probability: float = Field(default=0.4, gt=0, le=1)
    """p: probability that a word is replaced."""

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and the model that makes more of them."""
        named = {"task": Task.find(self.task).digest} if self.task is not None else {}
        return named | ({"augment_with": weights_in(Path(self.augment_with))} if self.augment_with is not None else {})

    def training_data(self, task: Task, source: Bundle, signature: Signature, scratch: Path) -> Encoded:
        """The task's training texts, tokenized, with those that were made of them."""
        split = task.load("train")
        if self.augment_with is not None:
            augmentation = Augmentation(self.augment_copies, self.augment_candidates, self.augment_probability, self.seed)
            split = augmented_once(split, Path(self.augment_with), augmentation, scratch, print)
        return Encoded.of(split, source.path, signature)

    def chosen_layers(self, teacher_layers: int) -> list[int]:
        """The teacher's layers (0-based) that the student starts from.

        Raises:
            UserError: there are not so many, or a list that doesn't fit.
        """
        if isinstance(self.layers, tuple):
            return explicit_layers(self.layers, teacher_layers)
        wanted = self.layers if self.layers is not None else max(1, teacher_layers // 2)
        if not 1 <= wanted <= teacher_layers:
            raise UserError(f"layers is {wanted}, but the teacher has {teacher_layers}: choose 1 to {teacher_layers}")
        if self.choose == "published":
            return published_layers(teacher_layers, wanted)
        return spread_layers(teacher_layers, wanted) if self.choose == "spread" else list(range(wanted))

    def ask(self, teacher: Bundle, data: Encoded, hidden: Sequence[int], passes: float, scratch: Path) -> Asked:
        """The teacher's logits and the hidden states of some layers (indices of `hidden_states`), for so many passes over the data."""
        wanted = Wanted(tuple(sorted(set(hidden))), self.signals_dtype)
        return ask(teacher, data, wanted, Budget(self.teacher_signals, self.signals_limit_gb, passes), scratch, print)
