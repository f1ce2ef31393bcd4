"""The weights of the epoch that does best on the validation split; a training that gets no better is stopped."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, TrainerCallback

from palmtop.compress.learning.chosen import best_of
from palmtop.compress.learning.validation import Validation
from palmtop.durably import replacing, write_durably
from palmtop.processes import rank

PATIENCE, LEAST = 0.5, 3
"""Of a training's epochs, the share without a better one after which it is stopped, and the fewest: while the rate is
high, grades go up and down, and what the falling rate gains comes late."""
WEIGHTS, GRADES = "best.safetensors", "grades.json"


class BestEpoch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Grades the model after each epoch, and keeps the best weights in a folder, where a run that was killed finds
    them."""

    def __init__(
        self,
        model: PreTrainedModel,
        validation: Validation,
        whole: Callable[[], AbstractContextManager[None]],
        folder: Path,
    ) -> None:
        """
        Args:
            whole: within it, the model has its whole word embedding (`only_used_rows`).
        """
        self._model, self._validation, self._whole, self._folder = model, validation, whole, folder
        self.grades: list[float] = []
        """The grade after each epoch, in order."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training that goes on knows the grades of the epochs before; one that was killed between an epoch's end and
        its grade gets it now."""
        over = math.floor((state.epoch or 0) + 1e-6)
        path = self._folder / GRADES
        self.grades = json.loads(path.read_text(encoding="utf-8"))[:over] if over and path.is_file() else []
        if len(self.grades) < over:
            self._grade()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Grade; stop where nothing got better for some epochs."""
        self._grade()
        if len(self.grades) - best_of(self.grades) >= max(LEAST, PATIENCE * args.num_train_epochs):
            control.should_training_stop = True

    def restore(self) -> None:
        """Give the model the best epoch's weights."""
        if self.grades and best_of(self.grades) < len(self.grades):
            load_model(self._model, str(self._folder / WEIGHTS))

    def _grade(self) -> None:
        with self._whole():
            self.grades.append(self._validation.grade(self._model))
        if rank() > 0:
            return
        if best_of(self.grades) == len(self.grades):
            with replacing(self._folder / WEIGHTS) as beside:
                save_model(self._model, str(beside))
        write_durably(self._folder / GRADES, json.dumps(self.grades))
