"""What pruning in a training has in common: settings, teacher, the loop, and folding the masks into an ordinary
model."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.answer_losses import distillation_loss
from palmtop.compress.distillation.guards import check_labels, check_same_tokens
from palmtop.compress.distillation.more_texts import MoreTexts
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.distillation.teachers import teacher_input, torch_teacher
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import GivenRates
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import family_named
from palmtop.models.opening import open_with_head, with_head
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch, Loss
    from palmtop.compress.pruning.masks import Masks, Rule


class PruningStage(MoreTexts, GivenRates, ABC):
    """Prune the linear layers of a model's transformer layers while it learns the task; embeddings, norms and head stay
    whole."""

    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "zeros"
    fewest_steps: ClassVar[int] = 0
    """Fewer than these, as measured, may leave the method's masks unlearnt."""

    keep: float | None = Field(default=None, gt=0, le=1)
    """Share that is kept of all weights (blocks, heads, rows) in queries, keys, values, attention output and
    feed-forward parts."""
    scope: Literal["local", "global"] | None = None
    """Ranked within each matrix (or the heads, rows of a layer), or over all; by default local, and global for soft and
    l0."""
    granularity: Literal["weight", "block32", "head", "row", "structured", "hybrid"] = "weight"
    """What is kept or pruned as one: weights, 32x32 blocks, attention heads, feed-forward rows; structured: heads and
    rows; hybrid: blocks in the attention, rows in the feed-forward parts."""
    mask_warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the training in which nothing is pruned yet."""
    mask_cooldown: float = Field(default=0.2, ge=0, lt=1)
    """Share of the training, at its end, in which no more is pruned; between the two the share kept falls along a
    cubic."""
    teacher: str | None = None
    """Folder of a torch bundle with the same tokenizer and labels that teaches; by default the source itself,
    unpruned."""
    soft_weight: float = Field(default=0.5, ge=0)
    """Weight of the teacher's soft targets; 0: no teacher."""
    freeze_embeddings: bool = True
    """Leave the embeddings as they are."""
    epochs: float = Field(default=6, gt=0, le=1000)
    """Passes over the training data."""
    learning_rate: float = Field(default=3e-5, gt=0)
    """AdamW's highest rate; it falls linearly to 0."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mask_warmup + self.mask_cooldown >= 1:
            raise ValueError(
                f"the schedule is longer than the training: mask_warmup {self.mask_warmup} and mask_cooldown "
                f"{self.mask_cooldown} of the steps leave none to prune in; lower one of them"
            )
        if self.soft_weight == self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: nothing would be learnt")
        if self.teacher is not None and self.soft_weight == 0:
            raise ValueError(
                f"teacher is {self.teacher}, but soft_weight is 0, so that nobody would ask it: leave one of them out"
            )
        return self

    @abstractmethod
    def rule(self) -> "Rule":
        """Which are kept."""

    @abstractmethod
    def rates(self) -> dict[str, float]:
        """The scores' own learning rate, where the method has scores."""

    def inputs(self) -> dict[str, str]:
        """The data and the teacher, where they are named here, and what makes more of the data."""
        return task_input(self.task) | teacher_input(self.teacher) | self.more_inputs()

    def outline(self, source: Outline | None) -> Outline:
        """The source with the task's head; its shape stays."""
        task = Task.find(self.task) if self.task is not None else None
        if source is None or (task is None and source.labels is None):
            raise UserError("pruning needs a task: the name of a shipped one, or of a task's YAML file")
        if source.labels is not None and task is not None:
            check_labels(dict(enumerate(source.labels)), task)
        self.check_more(task.kind if task is not None else source.task)
        if self.teacher is not None:
            _taught_for(task.label_names if task is not None else source.labels, self.teacher)
        return replace(source, format="torch", labels=source.labels if task is None else task.label_names)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Attach masks, ask the teacher once, train, fold the masks, and write a Hugging Face folder."""
        from palmtop.compress.pruning.masks import Masks

        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        teacher = self._teacher(source, task)
        has_head = source.task is not None
        model, new = (open_with_head(source.path), []) if has_head else with_head(source.path, task, self.seed)
        check_labels(model.config.id2label, task)
        model.base_model.embeddings.requires_grad_(not self.freeze_embeddings)
        masks = Masks(model, self.rule(), self.granularity)
        data = self.training_data(self.rows_of(task.load("train")), source, signature, work, teacher)
        warning = self._few_steps(len(data), work.say)
        said = signals(teacher, data, Wanted(), work.say) if teacher is not None else None
        head = family_named(model.config.model_type).new_head if new else ()
        fitted = fit(
            model,
            data,
            _with_penalty(distillation_loss(self, task), masks),
            self,
            work.scratch,
            said.batch if said else None,
            Special(head, self.head_rate, self.rates(), masks.each_step),
        )
        masks.fold()
        model.requires_grad_(True)
        write_classifier(model, source, task, signature, work.out)
        keep_logs(work)
        return (
            fitted.facts()
            | masks.facts()
            | data.facts()
            | warning
            | {"new_weights": new, "teacher": teacher.digest if teacher is not None else None}
        )

    def _few_steps(self, rows: int, say: Callable[[str], None]) -> dict[str, str]:
        """A fact where the training is too short to rely on; told before it starts, too."""
        steps = math.ceil(self.epochs * rows / self.batch_size)
        if steps >= self.fewest_steps:
            return {}
        told = (
            f"{steps} steps of training are few to learn in which weights to keep (fewer than {self.fewest_steps}): "
            "raise epochs, or take magnitude, which ranks them by what they are"
        )
        say(told)
        return {"few_steps": told}

    def _teacher(self, source: Bundle, task: Task) -> Bundle | None:
        """Raises: UserError: a teacher from which this source can't learn. Told here too: a recipe's teacher may be yet
        to be made."""
        if not self.soft_weight:
            return None
        if self.teacher is not None:
            teacher = _taught_for(task.label_names, self.teacher)
            check_same_tokens(teacher.path, source.path)
            return teacher
        if source.task is None:
            raise UserError(
                f"{source.name} has no head of a task, so it can't teach: name a teacher, set soft_weight: 0, or put "
                "a 'finetune' step before this one"
            )
        return source


def _taught_for(labels: tuple[str, ...] | None, folder: str) -> Bundle:
    """The named teacher. Raises: UserError: it has no answers to this task."""
    teacher = torch_teacher(folder)
    task = teacher.task
    if task is None or task.label_names != labels:
        has = f"the labels {', '.join(task.label_names[:3])}, ..." if task is not None else "no head of a task"
        raise UserError(
            f"the teacher {teacher.name} has {has}, not the {len(labels or ())} labels of this task in their order: "
            "fine-tune it on this task first"
        )
    return teacher


def _with_penalty(taught: "Loss", masks: "Masks") -> "Loss":
    def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
        terms, penalty = taught(student, batch), masks.penalty()
        return terms if penalty is None else terms | {"penalty": penalty.expand(len(batch["labels"]))}

    return loss
