"""The training loop, the only one: Hugging Face Trainer with batches of equal lengths, resume, and per-example losses."""

import math
import shutil
from abc import ABC
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from palmtop.bundle import LOGS, Format
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.making import processes, rank
from palmtop.stage import Stage

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Batch = dict[str, "Tensor"]
Loss = Callable[["PreTrainedModel", Batch], dict[str, "Tensor"]]
"""(student, batch) -> the weighted terms of the loss, each one value per example, [batch]. The batch holds the model's
inputs, `labels`, `rows` (row numbers) and whatever `Signals` added."""
Signals = Callable[[Sequence[int]], Batch]
"""Rows of a batch -> what a teacher said about them."""

COMPLETE = "complete"
"""Written into a checkpoint when all else in it is: a killed process leaves none of these half-written."""


class TrainingStage(Stage, ABC):
    """The settings of every stage that trains."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate", "tokenizers", "tensorboard")
    distributed: ClassVar[bool] = True

    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""
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
    """Of the forward pass; auto: bfloat16 on a GPU that has it, float32 elsewhere."""
    checkpoint_every: int = Field(default=150, ge=1)
    """Steps between checkpoints: at most so much work is lost when the process is killed."""
    seed: int = 0


@dataclass(frozen=True)
class Fitted:
    """What a training was."""

    steps: int
    processes: int
    device: str
    precision: str
    terms: dict[str, float]
    """Mean of each term of the loss over the last tenth of the steps."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {"steps": self.steps, "processes": self.processes, "device": self.device, "precision": self.precision,
                "loss": {name: round(value, 6) for name, value in self.terms.items()}}


def fit(model: "PreTrainedModel", data: Encoded, loss: Loss, settings: TrainingStage, scratch: Path,
        signals: Signals | None = None, head: Sequence[str] = ()) -> Fitted:
    """Train `model` in place; continue from the last whole checkpoint in `scratch` if there is one.

    In a distributed run every process calls this with the same arguments; a step's gradient is then the same sum over the
    same texts as in one process. Logs for TensorBoard are left in scratch/logs.

    Args:
        head: names of modules that learn at `learning_rate * head_rate`.

    Raises:
        UserError: the loss stopped being a finite number, or batch_size can't be shared out among the processes.
    """
    import torch

    arguments = _arguments(settings, len(data), scratch)
    loop = _loop_class()(model, arguments, data, loss, signals, settings, head, scratch / LOGS)
    torch.manual_seed(settings.seed)  # dropout: the same stream however much was drawn while the model was made
    loop.train(resume_from_checkpoint=_last_whole_checkpoint(scratch))
    return Fitted(loop.state.global_step, arguments.world_size, arguments.device.type, _precision(settings.precision), loop.last_terms())


def keep_logs(scratch: Path, out: Path) -> None:
    """Move the TensorBoard logs of a training into the bundle; only the first process of a distributed run does."""
    if rank() == 0 and (scratch / LOGS).is_dir():
        shutil.move(scratch / LOGS, out / LOGS)


class GroupedByLength:
    """Row numbers, shuffled anew in each epoch, so ordered that a batch holds texts of similar length.

    Shuffled rows are cut into pools of 50 batches; each pool is sorted by length and its batches are shuffled. The order
    depends on seed and epoch alone: a run continued in the middle sees what an uninterrupted one would have seen.
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
        batches = [batch for start in range(0, len(rows), pool) for batch in self._sorted_batches(rows[start:start + pool])]
        short = [batch for batch in batches if len(batch) < self._batch_size]  # at most one; last, or it would shift the others
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        for place in random.permutation(len(whole)):
            yield from whole[place].tolist()
        for batch in short:
            yield from batch.tolist()

    def _sorted_batches(self, rows: "np.ndarray[Any, np.dtype[np.int64]]") -> list["np.ndarray[Any, np.dtype[np.int64]]"]:
        by_length = rows[np.argsort(self._lengths[rows], kind="stable")]
        return [by_length[start:start + self._batch_size] for start in range(0, len(rows), self._batch_size)]


def _arguments(settings: TrainingStage, rows: int, scratch: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    cpu = not torch.cuda.is_available()
    parts = processes() * settings.accumulation
    share, rest = divmod(settings.batch_size, parts)
    if rest:
        raise UserError(f"batch_size {settings.batch_size} can't be shared out evenly among {processes()} process(es) x "
                        f"{settings.accumulation} accumulated batch(es): choose a multiple of {parts}")
    steps = max(1, math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs))
    precision = _precision(settings.precision)
    return TrainingArguments(
        output_dir=str(scratch / "checkpoints"), num_train_epochs=settings.epochs, per_device_train_batch_size=share,
        gradient_accumulation_steps=settings.accumulation, learning_rate=settings.learning_rate, lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * steps), weight_decay=settings.weight_decay, max_grad_norm=1.0, optim="adamw_torch_fused",
        bf16=precision == "bfloat16", fp16=precision == "float16", use_cpu=cpu, seed=settings.seed, data_seed=settings.seed,
        save_strategy="steps", save_steps=settings.checkpoint_every, save_total_limit=2, logging_steps=max(1, min(50, steps // 10)),
        logging_nan_inf_filter=False, report_to=[], remove_unused_columns=False, dataloader_num_workers=0,
        dataloader_pin_memory=not cpu, ddp_backend="gloo" if cpu and processes() > 1 else None)


def _precision(wanted: str) -> str:
    import torch

    if wanted != "auto":
        return wanted
    return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _last_whole_checkpoint(scratch: Path) -> str | None:
    whole = [path.parent for path in (scratch / "checkpoints").glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _loop_class() -> Any:
    """The Trainer's subclass, made late: importing transformers takes seconds."""
    import torch
    from torch.utils.tensorboard import SummaryWriter
    from transformers import Trainer, TrainerCallback
    from transformers.integrations import TensorBoardCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
        """Tells the sampler its epoch and marks checkpoints that are whole."""

        def __init__(self, sampler: GroupedByLength) -> None:
            self._sampler = sampler

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._sampler.epoch = math.floor(state.epoch + 1e-6)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()

    class Loop(Trainer):  # type: ignore[misc]  # transformers is untyped
        """Trainer with our batches and per-example losses."""

        def __init__(self, model: Any, arguments: Any, data: Encoded, loss: Loss, signals: Signals | None,
                     settings: TrainingStage, head: Sequence[str], logs: Path) -> None:
            self._encoded, self._loss, self._signals, self._settings, self._head = data, loss, signals, settings, head
            self._terms: dict[str, list[float]] = defaultdict(list)
            self._sampler = GroupedByLength(data.lengths, settings.batch_size // settings.accumulation, settings.seed)
            callbacks = [Watch(self._sampler)]
            if arguments.process_index == 0:
                callbacks.append(TensorBoardCallback(SummaryWriter(str(logs))))
            super().__init__(model, arguments, data_collator=self._collate, train_dataset=range(len(data)), callbacks=callbacks)
            self.model_accepts_loss_kwargs = True  # asks for the number of texts in a step over all processes
            self.loss_is_scaled_for_ga = True

        def _get_train_sampler(self, train_dataset: Any = None) -> GroupedByLength:
            return self._sampler

        def _collate(self, rows: list[int]) -> Batch:
            batch = self._encoded.batch(rows) | {"labels": torch.from_numpy(self._encoded.labels[rows]), "rows": torch.tensor(rows)}
            return batch | (self._signals(rows) if self._signals else {})

        def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            terms = self._loss(model, inputs)
            for name, values in terms.items():
                self._terms[name].append(float(values.detach().mean()))
            texts = num_items_in_batch if num_items_in_batch is not None else len(inputs["labels"])
            return torch.stack(list(terms.values())).sum() / texts * self.accelerator.num_processes

        def create_optimizer(self, model: Any = None) -> Any:
            if self.optimizer is None:
                kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
                self.optimizer = kind(self._groups(), **options)
            return self.optimizer

        def _groups(self) -> list[dict[str, Any]]:
            decayed = set(self.get_decay_parameter_names(self.model))
            groups: dict[tuple[bool, bool], list[Any]] = defaultdict(list)
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    groups[name in decayed, any(part in self._head for part in name.split("."))].append(parameter)
            rate = self._settings.learning_rate
            return [{"params": parameters, "weight_decay": self._settings.weight_decay if decay else 0.0,
                     "lr": rate * self._settings.head_rate if new else rate} for (decay, new), parameters in groups.items()]

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            if not math.isfinite(logs.get("loss", 0.0)):
                raise UserError(f"the loss is {logs['loss']} at step {self.state.global_step}: training has diverged; lower learning_rate "
                                f"(now {self._settings.learning_rate}), raise warmup, or use precision: float32")
            recent = {f"loss_{name}": float(np.mean(values[-self.args.logging_steps:])) for name, values in self._terms.items()}
            super().log(logs | (recent if "loss" in logs else {}), start_time)

        def last_terms(self) -> dict[str, float]:
            return {name: float(np.mean(values[-max(1, len(values) // 10):])) for name, values in self._terms.items()}

    return Loop
