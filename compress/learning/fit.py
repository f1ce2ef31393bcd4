"""fit, the only way into training: seeds, resume, several processes."""

import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.bundle import LOGS
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.precision import Precision, precision_for
from palmtop.compress.learning.special import COMMON, Fitted, Special
from palmtop.compress.learning.training_settings import AnyTraining
from palmtop.compress.learning.used_rows import only_used_rows
from palmtop.errors import UserError
from palmtop.processes import processes, rank
from palmtop.stage import Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Loss, Signals


def fit(
    model: "PreTrainedModel",
    data: Encoded,
    loss: "Loss",
    settings: AnyTraining,
    scratch: Path,
    signals: "Signals | None" = None,
    special: Special = COMMON,
) -> Fitted:
    """Train `model` in place; continue from the last whole checkpoint in `scratch` if there is one.

    In a distributed run every process calls this with the same arguments; a step's gradient is then the same sum over
    the same texts as in one process. Logs for TensorBoard are left in scratch/logs.

    Raises:
        UserError: the loss stopped being a finite number, or batch_size can't be shared out among the processes.
    """
    import torch

    from palmtop.compress.learning.training_loop import GroupedByLength, Loop

    precision = precision_for(settings.precision, model)
    arguments = _arguments(settings, precision, len(data), scratch)
    sampler = GroupedByLength(data.lengths, settings.batch_size // settings.accumulation, settings.seed)
    with nullcontext(data) if special.whole_table else only_used_rows(model, data) as read:
        loop = Loop(model, arguments, read, sampler, loss, signals, special, scratch / LOGS)
        torch.manual_seed(settings.seed)  # dropout: the same stream however much was drawn while the model was made
        loop.train(resume_from_checkpoint=_last_whole_checkpoint(scratch))
    return Fitted(loop.state.global_step, arguments.world_size, arguments.device.type, precision, loop.recent_terms())


def keep_logs(work: Work) -> None:
    """Move the TensorBoard logs of a training into the bundle; only the first process of a distributed run does."""
    if rank() == 0 and (work.scratch / LOGS).is_dir():
        shutil.move(work.scratch / LOGS, work.out / LOGS)


def _arguments(settings: AnyTraining, precision: Precision, rows: int, scratch: Path) -> Any:
    import torch
    from transformers import TrainingArguments

    cpu = not torch.cuda.is_available()
    parts = processes() * settings.accumulation
    share, rest = divmod(settings.batch_size, parts)
    if rest:
        raise UserError(
            f"batch_size {settings.batch_size} can't be shared out evenly among {processes()} process(es) x "
            f"{settings.accumulation} accumulated batch(es): choose a multiple of {parts}"
        )
    steps = max(1, math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs))
    return TrainingArguments(
        output_dir=str(scratch / "checkpoints"),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=share,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=cpu,
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps",
        save_steps=settings.checkpoint_every,
        save_total_limit=2,
        logging_steps=max(1, min(50, steps // 10)),
        logging_nan_inf_filter=False,
        disable_tqdm=True,  # the loop tells its progress itself
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=not cpu,
        ddp_backend="gloo" if cpu and processes() > 1 else None,
    )


def _last_whole_checkpoint(scratch: Path) -> str | None:
    from palmtop.compress.learning.training_loop import COMPLETE

    whole = [path.parent for path in (scratch / "checkpoints").glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None
