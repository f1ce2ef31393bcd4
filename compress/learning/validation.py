"""What training chooses by: texts that it doesn't learn from, and how well a model answers them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from jaxtyping import Float32

from palmtop.compress.learning.answered import answered
from palmtop.compress.learning.training_settings import ChosenRates
from palmtop.data.encoding import Encoding
from palmtop.data.tokenization import HostTokenizer
from palmtop.signature import Signature
from palmtop.task import Split, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOST = 1000
"""Texts that are graded: more would tell rates no better apart, and cost time after each epoch."""
LEAST = 30
"""With fewer, which rate is best is chance."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Parts:
    """The rows of a task as a training that chooses sees them."""

    train: Split
    """What is learnt from."""
    validation: Split | None
    """What is chosen by; None where nothing is chosen."""

    @classmethod
    def of(cls, task: Task, settings: ChosenRates, say: Say) -> Self:
        """The task's training and validation rows; where it has no validation rows and some are wanted, a tenth of the
        training rows is held out, unless that were too few to tell anything. Which it is, is said."""
        if not settings.chooses or not settings.learns:
            return cls(settings.rows_of(task.load("train")), None)
        if task.validation is not None:
            return cls(task.load("train"), task.load("validation"))
        train, held = task.held_out()
        if len(held) < LEAST:
            say(
                f"{len(train) + len(held)} training rows are too few to hold some out: epochs and rates are the usual "
                "ones, not chosen; name a validation split in the task to choose by"
            )
            return cls(task.load("train"), None)
        say(
            f"{len(held)} of {len(train) + len(held)} training rows are held out, always the same ones, to choose "
            "epochs and rates by; name a validation split in the task to train on all rows"
        )
        return cls(train, held)

    def judge(self, task: Task, folder: Path, signature: Signature, say: Say) -> "Validation | None":
        """What grades a model by the validation rows, tokenized with the bundle's tokenizer in `folder`."""
        if self.validation is None:
            return None
        rows = np.random.default_rng(0).permutation(len(self.validation))[:MOST]
        split = self.validation.take(np.sort(rows)) if len(rows) < len(self.validation) else self.validation
        return Validation(task, split, folder, signature, say)


@dataclass(frozen=True)
class Validation:
    """Texts with their labels that a training is judged by."""

    task: Task
    split: Split
    folder: Path
    """Of the bundle whose tokenizer reads them."""
    signature: Signature
    say: Say
    """Tells the user what was chosen by them."""

    @cached_property
    def encodings(self) -> list[Encoding]:
        """The texts as token ids."""
        return HostTokenizer.of(self.folder, self.signature).encode(self.split.texts)

    def grade(self, model: "PreTrainedModel") -> float:
        """The task's metric of the model's answers; minus infinity where it isn't defined, as when all answers are the
        same or aren't finite. The model is in training mode afterwards if it was before."""
        return self._metric(answered(model, self.task.of_kind, self.encodings, self.signature))

    def _metric(self, answers: Sequence[Float32[np.ndarray, "..."]]) -> float:
        kind = self.task.of_kind
        outputs = kind.joined(answers, self.encodings)
        if not np.isfinite(outputs).all():
            return -math.inf
        signature = self.signature
        if kind.settles:
            signature = kind.settled(outputs, self.split.labels, signature, self.encodings)
        graded = kind.graded(
            kind.answers(outputs, self.encodings, signature), self.split.labels, self.split.texts, self.task.label_names
        )
        value = kind.of_outputs(self.task.main_metric, graded, self.split.labels)
        return -math.inf if math.isnan(value) else value
