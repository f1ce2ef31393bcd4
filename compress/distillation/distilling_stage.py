"""What every stage that distils a fine-tuned teacher into fewer of its layers has in common: which layers, and more
texts."""

from abc import ABC
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from palmtop.bundle import Bundle
from palmtop.compress.distillation.augment import Augmentation, augmented_once
from palmtop.compress.distillation.teachers import TaughtBySource
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.layer_choice import Choice, start_layers
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.stage import Work
from palmtop.task import Split
from palmtop.task_kinds import find


class DistillingStage(TaughtBySource, ABC):
    """A student of the teacher's family, taught by its signals."""

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

    @property
    def _needs_likely(self) -> bool:
        return bool(self.augment)

    def check_more(self, kind: str | None) -> None:
        """The same for texts that are made with labels."""
        super().check_more(kind)
        if kind is not None and self.augment_with is not None and (lost := find(kind).lost_with_words):
            raise UserError(f"augment_with makes texts with other words, in which {lost} would be lost: leave it out")

    def training_data(
        self, split: Split, source: Bundle, signature: Signature, work: Work, teacher: Bundle | None = None
    ) -> Encoded:
        """The training texts, tokenized, with those that were made of them."""
        if self.augment_with is not None and not self.augment and self.learns:
            augmentation = Augmentation(self.copies, self.augment_candidates, self.augment_probability, self.seed)
            split = augmented_once(split, Path(self.augment_with), augmentation, work.scratch, work.say)
        return super().training_data(split, source, signature, work, teacher)

    def chosen_layers(self, teacher_layers: int) -> list[int]:
        """The teacher's layers (0-based) that the student starts from.

        Raises:
            UserError: there are not so many, or a list that doesn't fit.
        """
        wanted = self.layers if self.layers is not None else max(1, teacher_layers // 2)
        return start_layers(wanted, self.choose or "spread", teacher_layers)
