"""fit, the only way into training: seeds, resume, several processes."""

import math
import shutil
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmtop.bundle import LOGS
from palmtop.compress.learning import copies_trial, rate_trial
from palmtop.compress.learning.chosen import Chosen
from palmtop.compress.learning.encoded import Encoded, take
from palmtop.compress.learning.precision import precision_for
from palmtop.compress.learning.special import COMMON, Fitted, Special
from palmtop.compress.learning.training_settings import AnyTraining, Schedule
from palmtop.compress.learning.unlearnt import unlearnt
from palmtop.compress.learning.used_rows import Used, only_used_rows
from palmtop.compress.learning.validation import LEAST, Validation
from palmtop.errors import UserError
from palmtop.processes import processes, rank
from palmtop.stage import Work

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.learning.best_epoch import BestEpoch
    from palmtop.compress.learning.training_loop import Loop, Loss, Sampler, Signals


def fit(
    model: "PreTrainedModel",
    data: Encoded,
    loss: "Loss",
    settings: AnyTraining,
    scratch: Path,
    signals: "Signals | None" = None,
    special: Special = COMMON,
    validation: Validation | None = None,
) -> Fitted:
    """Train `model` in place; continue from the last whole checkpoint in `scratch` if there is one.

    In a distributed run every process calls this with the same arguments; a step's gradient is then the same sum over
    the same texts as in one process. Logs for TensorBoard are left in scratch/logs.

    Where the settings are of a stage that learns nothing, no step is taken.

    Args:
        validation: what chooses where the settings leave rates or epochs to be chosen; None where all are given.

    Raises:
        UserError: the loss stopped being a finite number, or batch_size can't be shared out among the processes.
    """
    if not settings.learns:
        return unlearnt(model, settings)
    schedule = settings.schedule(len(data), model.config.hidden_size)
    with nullcontext(Used(data)) if special.whole_table else only_used_rows(model, data) as used:
        training = _Training(model, used, loss, settings, schedule, scratch, signals, special)
        if validation is None:
            return training.whole(schedule.rates[len(schedule.rates) // 2])
        return _chosen(training, validation)


@dataclass(frozen=True)
class _Training:
    """A model and all that it is trained with, but for the rate."""

    model: "PreTrainedModel"
    used: Used
    loss: "Loss"
    settings: AnyTraining
    schedule: Schedule
    scratch: Path
    signals: "Signals | None"
    special: Special

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole training."""
        return max(1, math.ceil(math.ceil(len(self.used.data) / self.settings.batch_size) * self.schedule.epochs))

    def whole(self, rate: float, best: "BestEpoch | None" = None) -> Fitted:
        """The training itself, from the last whole checkpoint on; logged."""
        saved = {"save_strategy": "steps", "save_steps": self.settings.checkpoint_every, "save_total_limit": 2}
        arguments = _arguments(self, rate, self.steps, self.scratch / "checkpoints", saved)
        loop = self._loop(arguments, self.scratch / LOGS)
        if best is not None:
            loop.add_callback(best)
        loop.train(resume_from_checkpoint=_last_whole_checkpoint(self.scratch))
        precision = precision_for(self.settings.precision, self.model)
        return Fitted(
            loop.state.global_step, arguments.world_size, arguments.device.type, precision, loop.recent_terms()
        )

    def short(self, rate: float, steps: int) -> None:
        """A training of so many steps with a rate that rises and falls within them; nothing of it is kept but the
        weights.

        Raises:
            Diverged: the loss stopped being a finite number.
        """
        saved = {"save_strategy": "no", "max_steps": steps}
        arguments = _arguments(self, rate, steps, self.scratch / "trials", saved)
        self._loop(arguments, None).train()

    def _loop(self, arguments: Any, logs: Path | None) -> "Loop":
        import torch

        from palmtop.compress.learning.training_loop import Loop

        settings, sampler = self.settings, self._sampler()
        data = self.used.data
        loop = Loop(self.model, arguments, data, sampler, self.loss, self.signals, self.special, logs)
        torch.manual_seed(settings.seed)  # dropout: the same stream however much was drawn while the model was made
        return loop

    def _sampler(self) -> "Sampler":
        from palmtop.compress.learning.by_class import GroupedByClass
        from palmtop.compress.learning.training_loop import GroupedByLength

        settings, data = self.settings, self.used.data
        if (classes := data.kind.compared_in_batch(data.labels)) is not None:
            return GroupedByClass(classes, settings.seed)
        return GroupedByLength(data.lengths, settings.batch_size // settings.accumulation, settings.seed)


def _chosen(training: _Training, validation: Validation) -> Fitted:
    """A training whose rows, rate or epochs are chosen, with what was chosen and why among its facts; that is said
    too."""
    from palmtop.compress.learning.best_epoch import BestEpoch

    training, copies = _copies(training, validation)
    rate, trials = _rate(training, validation)
    best = None
    if training.schedule.best:
        best = BestEpoch(training.model, validation, training.used.whole, training.scratch)
    fitted = training.whole(rate, best)
    grades = best.grades if best else ()
    told = Chosen(validation.task.main_metric, len(validation.split), rate, trials, grades, copies)
    if best is not None:
        best.restore()
    for line in told.lines():
        validation.say(line)
    return replace(fitted, chosen=told.facts())


def _copies(training: _Training, validation: Validation) -> tuple[_Training, list[copies_trial.CopiesTrial]]:
    """The training on as many texts made of each as do best, and the trials that chose it; all texts where there is
    nothing to choose, or too few steps or texts for a trial to say anything."""
    steps = training.steps
    if training.used.data.tries is None or not rate_trial.worth_it(steps) or len(validation.split) < LEAST:
        return training, []
    start = _state(training)
    rate = training.schedule.rates[len(training.schedule.rates) // 2]

    def train(copies: int, length: int) -> float:
        return _graded(_of_copies(training, copies), validation, start, rate, length)

    copies, trials = copies_trial.choose(steps, train, training.scratch)
    training.model.load_state_dict(start)
    return _of_copies(training, copies), trials


def _of_copies(training: _Training, copies: int) -> _Training:
    """The same on the rows that are there where so many texts are made of each."""
    assert training.used.data.tries is not None  # whoever asks for copies has looked
    kept = np.flatnonzero(training.used.data.tries < copies).tolist()
    signals = training.signals
    return replace(
        training,
        used=replace(training.used, data=take(training.used.data, kept)),
        schedule=training.settings.schedule(len(kept), training.model.config.hidden_size),
        signals=None if signals is None else lambda rows: signals([kept[row] for row in rows]),
    )


def _rate(training: _Training, validation: Validation) -> tuple[float, list[rate_trial.Trial]]:
    """The highest rate, and the trials that chose it; none where there is only one, or too few steps or texts for a
    trial to say anything: then the middle one."""
    rates, steps = training.schedule.rates, training.steps
    if len(rates) == 1 or not rate_trial.worth_it(steps) or len(validation.split) < LEAST:
        return rates[len(rates) // 2], []
    start = _state(training)

    def train(rate: float, length: int) -> float:
        return _graded(training, validation, start, rate, length)

    chosen = rate_trial.choose(rates, steps, train, training.scratch)
    training.model.load_state_dict(start)
    return chosen


def _state(training: _Training) -> "dict[str, Tensor]":
    """The model's weights as they are now."""
    return {name: values.detach().clone() for name, values in training.model.state_dict().items()}


def _graded(training: _Training, validation: Validation, start: "dict[str, Tensor]", rate: float, length: int) -> float:
    """The grade after a short training from these weights on; minus infinity where it diverged."""
    from palmtop.compress.learning.training_loop import Diverged

    training.model.load_state_dict(start)
    try:
        training.short(rate, length)
    except Diverged:
        return -math.inf
    with training.used.whole():
        return validation.grade(training.model)


def keep_logs(work: Work) -> None:
    """Move the TensorBoard logs of a training into the bundle; only the first process of a distributed run does."""
    if rank() == 0 and (work.scratch / LOGS).is_dir():
        shutil.move(work.scratch / LOGS, work.out / LOGS)


def _arguments(training: _Training, rate: float, steps: int, out: Path, saved: dict[str, Any]) -> Any:
    import torch
    from transformers import TrainingArguments

    settings, precision = training.settings, precision_for(training.settings.precision, training.model)
    cpu = not torch.cuda.is_available()
    parts = processes() * settings.accumulation
    share, rest = divmod(settings.batch_size, parts)
    if rest:
        raise UserError(
            f"batch_size {settings.batch_size} can't be shared out evenly among {processes()} process(es) x "
            f"{settings.accumulation} accumulated batch(es): choose a multiple of {parts}"
        )
    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=training.schedule.epochs,
        per_device_train_batch_size=share,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=rate,
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
        logging_steps=max(1, min(50, steps // 10)),
        logging_nan_inf_filter=False,
        disable_tqdm=True,  # the loop tells its progress itself
        report_to=[],
        remove_unused_columns=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=not cpu,
        ddp_backend="gloo" if cpu and processes() > 1 else None,
        **saved,
    )


def _last_whole_checkpoint(scratch: Path) -> str | None:
    from palmtop.compress.learning.training_loop import COMPLETE

    whole = [path.parent for path in (scratch / "checkpoints").glob(f"checkpoint-*/{COMPLETE}")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None
