"""Training: the settings of every stage that trains, and `fit`, the only way in: seeds, resume, several processes."""

import math
import shutil
from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from palmtop.bundle import LOGS, Format
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.making import processes, rank
from palmtop.precision import Precision, precision_for
from palmtop.stage import Stage
from palmtop.used_rows import only_used_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.training_loop import Loss, Signals


class AnyTraining(Stage, ABC):
    """The settings of every stage that trains."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
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
    """Of the products of the forward and backward pass; weights, optimizer and losses are float32. auto: bfloat16 on a GPU or CPU that
    multiplies it natively (on a CPU from a hidden size of 128 on), float32 elsewhere."""
    checkpoint_every: int = Field(default=150, ge=1)
    """Steps between checkpoints: at most so much work is lost when the process is killed."""
    seed: int = 0


class TrainingStage(AnyTraining, ABC):
    """The settings of every stage that trains for a task."""

    task: str | dict[str, Any] | None = None
    """The task: a shipped name, a YAML file, or written out; by default the one the source was trained for."""


@dataclass(frozen=True)
class Special:
    """What does not go for all parameters alike, or changes from step to step."""

    head: Sequence[str] = ()
    """Names of modules that learn at `learning_rate * head_rate`."""
    head_rate: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    """A word of a parameter's dotted name, or several with their dots, and the rate of its own that such parameters learn at, without
    weight decay; the first that fits counts."""
    each_step: Callable[[int, int], None] | None = None
    """Called with (step, steps) before each step, from 0 on, also where a training is continued in the middle."""
    whole_table: bool = False
    """Train every row of the word embedding, also those that no text reads: where a loss or a batch goes by token ids of its own."""
    each_epoch: Callable[[int, Sequence[int]], None] | None = None
    """Called with an epoch's number, from 0 on, and its rows in their order, before its first batch is made."""


COMMON = Special()


@dataclass(frozen=True)
class Fitted:
    """What a training was."""

    steps: int
    processes: int
    device: str
    precision: Precision
    terms: dict[str, float]
    """Mean of each term of the loss over the last tenth of the steps."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {"steps": self.steps, "processes": self.processes, "device": self.device, "precision": self.precision,
                "loss": {name.removeprefix("loss_"): round(value, 6) for name, value in self.terms.items()}}


def fit(model: "PreTrainedModel", data: Encoded, loss: "Loss", settings: AnyTraining, scratch: Path,
        signals: "Signals | None" = None, special: Special = COMMON) -> Fitted:
    """Train `model` in place; continue from the last whole checkpoint in `scratch` if there is one.

    In a distributed run every process calls this with the same arguments; a step's gradient is then the same sum over the
    same texts as in one process. Logs for TensorBoard are left in scratch/logs.

    Raises:
        UserError: the loss stopped being a finite number, or batch_size can't be shared out among the processes.
    """
    import torch

    from palmtop.training_loop import GroupedByLength, Loop

    precision = precision_for(settings.precision, model)
    arguments = _arguments(settings, precision, len(data), scratch)
    sampler = GroupedByLength(data.lengths, settings.batch_size // settings.accumulation, settings.seed)
    with nullcontext(data) if special.whole_table else only_used_rows(model, data) as read:
        loop = Loop(model, arguments, read, sampler, loss, signals, special, scratch / LOGS)
        torch.manual_seed(settings.seed)  # dropout: the same stream however much was drawn while the model was made
        loop.train(resume_from_checkpoint=_last_whole_checkpoint(scratch))
    return Fitted(loop.state.global_step, arguments.world_size, arguments.device.type, precision, loop.recent_terms())


def keep_logs(scratch: Path, out: Path) -> None:
    """Move the TensorBoard logs of a training into the bundle; only the first process of a distributed run does."""
    if rank() == 0 and (scratch / LOGS).is_dir():
        shutil.move(scratch / LOGS, out / LOGS)


def _arguments(settings: AnyTraining, precision: Precision, rows: int, scratch: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    cpu = not torch.cuda.is_available()
    parts = processes() * settings.accumulation
    share, rest = divmod(settings.batch_size, parts)
    if rest:
        raise UserError(f"batch_size {settings.batch_size} can't be shared out evenly among {processes()} process(es) x "
                        f"{settings.accumulation} accumulated batch(es): choose a multiple of {parts}")
    steps = max(1, math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs))
    return TrainingArguments(
        output_dir=str(scratch / "checkpoints"), num_train_epochs=settings.epochs, per_device_train_batch_size=share,
        gradient_accumulation_steps=settings.accumulation, learning_rate=settings.learning_rate, lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * steps), weight_decay=settings.weight_decay, max_grad_norm=1.0, optim="adamw_torch_fused",
        bf16=precision == "bfloat16", fp16=precision == "float16", use_cpu=cpu, seed=settings.seed, data_seed=settings.seed,
        save_strategy="steps", save_steps=settings.checkpoint_every, save_total_limit=2, logging_steps=max(1, min(50, steps // 10)),
        logging_nan_inf_filter=False, disable_tqdm=False, report_to=[], remove_unused_columns=False, dataloader_num_workers=0,
        dataloader_pin_memory=not cpu, ddp_backend="gloo" if cpu and processes() > 1 else None)


def _last_whole_checkpoint(scratch: Path) -> str | None:
    from palmtop.training_loop import COMPLETE

    whole = [path.parent for path in (scratch / "checkpoints").glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None
