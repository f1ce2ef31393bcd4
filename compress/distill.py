"""Distil a fine-tuned teacher into a student with fewer of its layers (DistilBERT's task form, Sanh et al. 2019)."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.finetune import label_loss, model_inputs, shortened, task_of, write_classifier
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.family import keep_layers, layer_count, open_classifier
from palmtop.stage import Outline
from palmtop.task import Task
from palmtop.teacher import Wanted, signals, weights_digest
from palmtop.training import TrainingStage, fit, keep_logs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.training_loop import Batch, Loss


class Distill(TrainingStage):
    """Copy some of the teacher's layers; learn its soft targets, the labels, and the direction of its last hidden states."""

    produces: ClassVar[Format] = "torch"

    layers: int | tuple[int, ...] | None = None
    """How many layers the student has, or which of the teacher's (0-based) it starts from; half of them by default."""
    choose: Literal["spread", "lower"] = "spread"
    """Which layers a number means: spread from first to last, or the lowest."""
    temperature: float = Field(default=2.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015)."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets."""
    label_weight: float = Field(default=0.5, ge=0)
    """Weight of the hard labels."""
    cosine_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between last hidden states."""
    signals_dtype: Literal["float16", "float32"] = "float16"
    """In which the teacher's hidden states are kept on disk."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, label_weight and cosine_weight are all 0: nothing would be learnt")
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here."""
        return {"task": Task.find(self.task).digest} if self.task is not None else {}

    def outline(self, source: Outline | None) -> Outline:
        """The teacher with fewer layers."""
        if source is None or source.labels is None or source.layers is None:
            raise UserError("distill needs a teacher that was fine-tuned: put a 'finetune' step before it")
        if self.task is not None:
            check_labels(dict(enumerate(source.labels)), Task.find(self.task))
        return Outline("torch", source.family, len(self._chosen(source.layers)), source.labels)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Make the student, ask the teacher once, train, and write a Hugging Face folder."""
        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        teacher = open_classifier(source.path)
        check_labels(teacher.config.id2label, task)
        before = weights_digest(teacher)
        layers = self._chosen(layer_count(json.loads((source.path / "config.json").read_text(encoding="utf-8"))))
        student = keep_layers(teacher, layers)
        data = Encoded.of(task.load("train"), source.path, signature)
        said = signals(source, data, Wanted((teacher.config.num_hidden_layers,) if self.cosine_weight else (), self.signals_dtype), print)
        fitted = fit(student, data, distillation_loss(self, task), self, scratch, said.batch)
        if weights_digest(teacher) != before:
            raise RuntimeError("the teacher changed while its student was trained")
        write_classifier(student, source, task, signature, out)
        keep_logs(scratch, out)
        return fitted.facts() | {"rows": len(data), "truncated": data.truncated, "layers_copied": layers, "signals_bytes": said.size_bytes,
                                 "signals_seconds": said.seconds, "signals_reused": said.reused}

    def _chosen(self, teacher_layers: int) -> list[int]:
        if isinstance(self.layers, tuple):
            return explicit_layers(self.layers, teacher_layers)
        wanted = self.layers if self.layers is not None else max(1, teacher_layers // 2)
        if not 1 <= wanted <= teacher_layers:
            raise UserError(f"layers is {wanted}, but the teacher has {teacher_layers}: choose 1 to {teacher_layers}")
        return spread_layers(teacher_layers, wanted) if self.choose == "spread" else list(range(wanted))


def spread_layers(teacher_layers: int, student_layers: int) -> list[int]:
    """Layers (0-based) that a student starts from: first and last kept, the rest spread evenly.

    round(linspace(0, L_t - 1, L_s)): DistilBERT's {0, 2, 4, 7, 9, 11} for 12 -> 6. A single layer is the first.
    """
    return [round(float(place)) for place in np.linspace(0, teacher_layers - 1, student_layers)]


def explicit_layers(layers: tuple[int, ...], teacher_layers: int) -> list[int]:
    """A list of layers as given, checked.

    Raises:
        UserError: a layer that the teacher has not, or a list that is not ascending.
    """
    if not layers or min(layers) < 0 or max(layers) >= teacher_layers or sorted(set(layers)) != list(layers):
        raise UserError(f"layers is {list(layers)}: give layers of the teacher in ascending order, each once, "
                        f"from 0 to {teacher_layers - 1}")
    return list(layers)


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
    from torch.nn.functional import mse_loss

    by_labels = label_loss(task)

    def by_teacher(logits: "Tensor", taught: "Tensor") -> "Tensor":
        if task.kind == "regression":
            return mse_loss(logits, taught, reduction="none").mean(-1)
        return soft_loss(logits, taught, settings.temperature)

    def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
        output = student(**model_inputs(batch), output_hidden_states=settings.cosine_weight > 0)
        logits, taught = output.logits.float(), batch["teacher_logits"]
        terms = {}
        if settings.soft_weight:
            terms["soft"] = settings.soft_weight * by_teacher(logits, taught)
        if settings.label_weight:
            terms["labels"] = settings.label_weight * by_labels(logits, batch["labels"])
        if settings.cosine_weight:
            hidden = next(value for name, value in batch.items() if name.startswith("teacher_hidden_"))
            terms["cosine"] = settings.cosine_weight * cosine_loss(output.hidden_states[-1], hidden, batch["attention_mask"])
        return terms

    return loss
