"""Distil a fine-tuned teacher into a student with fewer of its layers (DistilBERT's task form, Sanh et al. 2019)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.finetune import label_loss, model_inputs, shortened, task_of, write_classifier
from palmtop.compress.matching.distilling import DistillingStage
from palmtop.compress.matching.guards import check_inputs, unchanged
from palmtop.errors import UserError
from palmtop.family import keep_layers, open_classifier
from palmtop.stage import Outline
from palmtop.task import Task
from palmtop.training import fit, keep_logs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.training_loop import Batch, Loss


class Distill(DistillingStage):
    """Copy some of the teacher's layers; learn its soft targets, the labels, and the direction of its last hidden states."""

    temperature: float = Field(default=2.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015)."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets."""
    label_weight: float = Field(default=0.5, ge=0)
    """Weight of the hard labels."""
    cosine_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between last hidden states."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, label_weight and cosine_weight are all 0: nothing would be learnt")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """The teacher with fewer layers."""
        if source is None or source.labels is None or source.layers is None:
            raise UserError("distill needs a teacher that was fine-tuned: put a 'finetune' step before it")
        if self.task is not None:
            check_labels(dict(enumerate(source.labels)), Task.find(self.task))
        return replace(source, layers=len(self.chosen_layers(source.layers)), layer_sets=None)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Make the student, ask the teacher once, train, and write a Hugging Face folder."""
        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        teacher = open_classifier(source.path)
        check_labels(teacher.config.id2label, task)
        check_inputs(teacher.config, signature.inputs, source.name)
        last = teacher.config.num_hidden_layers
        layers = self.chosen_layers(last)
        student = keep_layers(teacher, layers)
        data = self.training_data(task, source, signature, scratch)
        with unchanged(teacher):
            said = self.ask(source, data, [last] if self.cosine_weight else [], self.epochs, scratch)
            fitted = fit(student, data, distillation_loss(self, task), self, scratch, said.batch)
        write_classifier(student, source, task, signature, out)
        keep_logs(scratch, out)
        return fitted.facts() | said.facts() | {"rows": len(data), "truncated": data.truncated, "layers_copied": layers}


def soft_loss(student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), [batch, labels] x 2 -> [batch] (Hinton et al. 2015; 1910.01108, 3).

    Computed in float32. Zero when the logits are equal. T^2 keeps the gradient's size as T changes.
    """
    from torch.nn.functional import kl_div, log_softmax

    target, answer = log_softmax(teacher.float() / temperature, -1), log_softmax(student.float() / temperature, -1)
    return kl_div(answer, target, reduction="none", log_target=True).sum(-1) * temperature**2


def cosine_loss(student: "Tensor", teacher: "Tensor", mask: "Tensor") -> "Tensor":
    """1 - cos of the hidden states, mean over a text's real tokens, [batch, tokens, width] x 2 -> [batch] (1910.01108, 3).

    The reference code takes the mean over all tokens of a batch; here each text counts the same, so that a step does not
    depend on how the batch is shared out among processes.
    """
    from torch.nn.functional import cosine_similarity

    distance = (1 - cosine_similarity(student.float(), teacher, dim=-1)) * mask
    return distance.sum(-1) / mask.sum(-1)


def check_labels(id2label: dict[int, str], task: Task) -> None:
    """Compare a teacher's outputs with the task's labels, by name and order.

    Raises:
        UserError: they differ; a student would learn to confuse them.
    """
    outputs = tuple(id2label[index] for index in sorted(id2label))
    if outputs == task.label_names:
        return
    if set(outputs) == set(task.label_names):
        first = next(index for index, name in enumerate(outputs) if name != task.label_names[index])
        raise UserError(f"the teacher's outputs are the labels of the task '{task.name}' in another order (output {first} is "
                        f"'{outputs[first]}', the task has '{task.label_names[first]}'): give the task 'labels' in the teacher's order")
    raise UserError(f"the teacher has {len(outputs)} labels ({', '.join(outputs[:3])}, ...), the task '{task.name}' "
                    f"{len(task.label_names)} ({', '.join(task.label_names[:3])}, ...): fine-tune it on this task first")


class LossWeights(Protocol):
    """The settings that `distillation_loss` reads, of whichever stage has them."""

    @property
    def temperature(self) -> float: ...
    @property
    def soft_weight(self) -> float: ...
    @property
    def label_weight(self) -> float: ...
    @property
    def cosine_weight(self) -> float: ...


def distillation_loss(settings: LossWeights, task: Task) -> "Loss":
    """The weighted terms: soft, labels, cosine. Those of weight 0 are left out."""
    terms = answer_terms(settings, task)

    def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
        output = student(**model_inputs(batch), output_hidden_states=settings.cosine_weight > 0)
        return terms(output.logits, output.hidden_states[-1] if settings.cosine_weight else None, batch)

    return loss


def answer_terms(settings: LossWeights, task: Task) -> "Callable[[Tensor, Tensor | None, Batch], dict[str, Tensor]]":
    """(logits, last hidden states, batch) of a student -> the weighted terms, [batch] each."""
    from torch.nn.functional import mse_loss

    by_labels = label_loss(task)

    def by_teacher(logits: "Tensor", taught: "Tensor") -> "Tensor":
        if task.kind == "regression":
            return mse_loss(logits, taught, reduction="none").mean(-1)
        return soft_loss(logits, taught, settings.temperature)

    def terms(logits: "Tensor", last: "Tensor | None", batch: "Batch") -> "dict[str, Tensor]":
        found, logits = {}, logits.float()
        if settings.soft_weight:
            found["soft"] = settings.soft_weight * by_teacher(logits, batch["teacher_logits"])
        if settings.label_weight:
            found["labels"] = settings.label_weight * by_labels(logits, batch["labels"])
        if settings.cosine_weight:
            assert last is not None  # whoever gives a weight asks for hidden states
            found["cosine"] = settings.cosine_weight * cosine_loss(last, _last_hidden(batch), batch["attention_mask"])
        return found

    return terms


def _last_hidden(batch: "Batch") -> "Tensor":
    """The teacher's states of the highest layer among those that it was asked for."""
    start = "teacher_hidden_"
    return batch[max((name for name in batch if name.startswith(start)), key=lambda name: int(name.removeprefix(start)))]
