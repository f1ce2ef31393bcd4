"""The training loop: Hugging Face Trainer, given our batches and losses. Imports torch; training.py opens it when it
trains."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, PrinterCallback, Trainer, TrainerCallback
from transformers.integrations import TensorBoardCallback

from palmtop.compress.learning.by_class import GroupedByClass
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.special import Special
from palmtop.errors import UserError
from palmtop.progress import Progress

Batch = dict[str, torch.Tensor]
Loss = Callable[[PreTrainedModel, Batch], dict[str, torch.Tensor]]
"""(student, batch) -> the weighted terms of the loss, each one value per example, [batch], or one per sequence where a
row has several. The batch holds the model's inputs, `labels`, `rows` (row numbers) and whatever `Signals` added."""
Signals = Callable[[Sequence[int]], Batch]
"""Rows of a batch -> what a teacher said about them."""

COMPLETE = "complete"
"""Written into a checkpoint when all else in it is: a killed process leaves none of these half-written."""


class Diverged(UserError):
    """The loss is no finite number any more."""


class GroupedByLength:
    """Row numbers, shuffled anew in each epoch, so ordered that a batch holds texts of similar length.

    Shuffled rows are cut into pools of 50 batches; each pool is sorted by length and its batches are shuffled. The
    order depends on seed and epoch alone: a run continued in the middle sees what an uninterrupted one would have seen.
    """

    def __init__(self, lengths: "np.ndarray[Any, np.dtype[np.int64]]", batch_size: int, seed: int) -> None:
        self._lengths, self._batch_size, self._seed = lengths, batch_size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._seed, self.epoch))
        rows = random.permutation(len(self._lengths))
        pool = 50 * self._batch_size
        batches = [
            batch for start in range(0, len(rows), pool) for batch in self._sorted_batches(rows[start : start + pool])
        ]
        short = [
            batch for batch in batches if len(batch) < self._batch_size
        ]  # at most one; last, or it would shift the others
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        for place in random.permutation(len(whole)):
            yield from whole[place].tolist()
        for batch in short:
            yield from batch.tolist()

    def _sorted_batches(
        self, rows: "np.ndarray[Any, np.dtype[np.int64]]"
    ) -> list["np.ndarray[Any, np.dtype[np.int64]]"]:
        by_length = rows[np.argsort(self._lengths[rows], kind="stable")]
        return [by_length[start : start + self._batch_size] for start in range(0, len(rows), self._batch_size)]


Sampler = GroupedByLength | GroupedByClass
"""What says in which order the rows of an epoch come."""


class Loop(Trainer):  # type: ignore[misc]  # transformers is untyped
    """Trainer with batches of similar lengths, or of few classes, and losses of one value per text.

    A step's gradient is the sum over its texts divided by their number, over all processes and accumulated batches: it
    does not depend on how they are shared out.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        arguments: Any,
        data: Encoded,
        sampler: Sampler,
        loss: Loss,
        signals: Signals | None,
        special: Special,
        logs: Path | None,
    ) -> None:
        """
        Args:
            logs: the folder for TensorBoard's; None for a trial, which leaves none.
        """
        self._encoded, self._sampler, self._loss, self._signals, self._special = data, sampler, loss, signals, special
        self._terms: dict[str, list[torch.Tensor]] = defaultdict(list)
        callbacks: list[Any] = [_Watch(sampler, special)]
        if arguments.process_index == 0:
            callbacks += [
                _Told("training" if logs is not None else f"trial of learning_rate {arguments.learning_rate:g}")
            ]
            callbacks += [TensorBoardCallback(SummaryWriter(str(logs)))] if logs is not None else []
        super().__init__(
            model, arguments, data_collator=self._collate, train_dataset=range(len(data)), callbacks=callbacks
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = True  # asks for the number of texts in a step over all processes
        self.loss_is_scaled_for_ga = True

    def compute_loss(
        self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """The sum of all terms over the texts, divided by the texts of the whole step."""
        terms = self._loss(model, inputs)
        for name, values in terms.items():
            self._terms[name].append(values.detach().mean())
        texts = num_items_in_batch if num_items_in_batch is not None else len(inputs["rows"])
        # the processes' gradients are averaged, not added: hence the factor
        by_row = [_by_row(values, len(inputs["rows"])) for values in terms.values()]
        total: torch.Tensor = torch.stack(by_row).sum() / texts * self.accelerator.num_processes
        return total

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: Any) -> Any:
        """Texts, not labels: a text can have several, or none that is looked at."""
        return super()._get_num_items_in_batch([{"labels": batch["rows"]} for batch in batch_samples], device)

    def create_optimizer(self, model: Any = None) -> Any:
        """The optimizer of the arguments, with the new head on its own rate."""
        if getattr(self, "optimizer", None) is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            self.optimizer = kind(self._groups(), **options)
        return self.optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the terms of the loss apart; stop where the loss is no number any more."""
        if not math.isfinite(logs.get("loss", 0.0)):
            raise Diverged(
                f"the loss is {logs['loss']} at step {self.state.global_step}: training has diverged; lower "
                f"learning_rate (now {self.args.learning_rate}), raise warmup, or use precision: float32"
            )
        super().log(logs | (self.recent_terms(int(self.args.logging_steps)) if "loss" in logs else {}), start_time)

    def recent_terms(self, batches: int | None = None) -> dict[str, float]:
        """Mean of each term over the last `batches`, by default over the last tenth."""
        return {
            f"loss_{name}": float(torch.stack(values[-(batches or max(1, len(values) // 10)) :]).mean())
            for name, values in self._terms.items()
        }

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:
        return self._sampler

    def _collate(self, rows: list[int]) -> Batch:
        batch = self._encoded.batch(rows) | self._encoded.labels_of(rows) | {"rows": torch.tensor(rows)}
        return batch | (self._signals(rows) if self._signals else {})

    def _groups(self) -> list[dict[str, Any]]:
        decayed = set(self.get_decay_parameter_names(self.model))
        groups: dict[tuple[bool, float], list[Any]] = defaultdict(list)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                apart, rate = self._rate(name)
                groups[name in decayed and not apart, rate].append(parameter)
        return [
            {"params": parameters, "weight_decay": self.args.weight_decay if decay else 0.0, "lr": rate}
            for (decay, rate), parameters in groups.items()
        ]

    def _rate(self, name: str) -> tuple[bool, float]:
        """Whether a parameter has a rate of its own, and its rate."""
        own = next((rate for words, rate in self._special.rates.items() if f".{words}." in f".{name}."), None)
        if own is not None:
            return True, own
        new = any(word in self._special.head for word in name.split("."))
        return False, self.args.learning_rate * (self._special.head_rate if new else 1.0)


def _by_row(values: torch.Tensor, rows: int) -> torch.Tensor:
    """A term with a value for each row: of a row's sequences, the mean."""
    return values if len(values) == rows else values.view(rows, -1).mean(1)


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Tells the sampler its epoch, the stage its epoch and step, and marks checkpoints that are whole."""

    def __init__(self, sampler: Sampler, special: Special) -> None:
        self._sampler, self._special = sampler, special

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._sampler.epoch = math.floor(state.epoch + 1e-6)
        if self._special.each_epoch is not None:
            self._special.each_epoch(self._sampler.epoch, list(self._sampler))

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._special.each_step is not None:
            self._special.each_step(state.global_step, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class _Told(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Tells how far the training is, with the loss as it was logged last."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress: Progress | None = None
        self._loss = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._progress = Progress(self._what, state.max_steps, "step", state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self._loss = f"loss {logs['loss']:.4g}"

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress is not None:
            self._progress.at(state.global_step, self._loss)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._progress is not None:
            self._progress.close()
