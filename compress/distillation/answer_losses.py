"""What a student learns from its teacher's answers and last hidden states, and from the labels: weights, losses, their
weighted terms."""

from abc import ABC
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from palmtop.compress.distillation.across import HEARD
from palmtop.compress.learning.batches import model_inputs
from palmtop.models.opening import outputs_of
from palmtop.settings import Settings
from palmtop.task import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch, Loss


class AnswerWeights(Settings, ABC):
    """The settings of every stage that learns its teacher's answers beside the labels."""

    temperature: float = Field(default=2.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015)."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets."""
    label_weight: float = Field(default=0.5, ge=0)
    """Weight of the hard labels."""


class DistillationWeights(AnswerWeights, ABC):
    """Those of every stage that compares last hidden states too."""

    cosine_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between last hidden states."""

    def last(self, layers: int) -> tuple[int, ...]:
        """The hidden states that a teacher of so many layers is asked for beside its answers: the last, where their
        cosine counts."""
        return (layers,) if self.cosine_weight else ()


def cosine_loss(student: "Tensor", teacher: "Tensor", mask: "Tensor") -> "Tensor":
    """1 - cos of the hidden states, mean over a text's real tokens, [batch, tokens, width] x 2 -> [batch] (1910.01108,
    3).

    The reference code takes the mean over all tokens of a batch; here each text counts the same, so that a step does
    not depend on how the batch is shared out among processes.
    """
    from torch.nn.functional import cosine_similarity

    distance = (1 - cosine_similarity(student.float(), teacher, dim=-1)) * mask
    return distance.sum(-1) / mask.sum(-1).clamp(min=1)


def heard(batch: "Batch") -> "Tensor":
    """The student's tokens of which its teacher says something, [batch, tokens]: all real ones, or, where the teacher
    reads other tokens, those that it covers."""
    return batch[HEARD if HEARD in batch else "attention_mask"]


def distillation_loss(weights: AnswerWeights, task: Task, cosine_weight: float = 0.0) -> "Loss":
    """The weighted terms: soft, labels, cosine. Those of weight 0 are left out."""
    terms = distillation_terms(weights, task, cosine_weight)

    def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
        output = student(**model_inputs(batch), output_hidden_states=cosine_weight > 0)
        return terms(outputs_of(output), output.hidden_states[-1] if cosine_weight else None, batch)

    return loss


def distillation_terms(
    weights: AnswerWeights, task: Task, cosine_weight: float
) -> "Callable[[Tensor, Tensor | None, Batch], dict[str, Tensor]]":
    """(logits, last hidden states, batch) of a student -> the weighted terms, [batch] each."""
    by_answers = answer_terms(weights, task)

    def terms(logits: "Tensor", last: "Tensor | None", batch: "Batch") -> "dict[str, Tensor]":
        found = by_answers(logits, batch)
        if cosine_weight:
            assert last is not None  # whoever gives a weight asks for hidden states
            found["cosine"] = cosine_weight * cosine_loss(last, _last_hidden(batch), heard(batch))
        return found

    return terms


def answer_terms(weights: AnswerWeights, task: Task) -> "Callable[[Tensor, Batch], dict[str, Tensor]]":
    """(logits, batch) of a student -> the weighted terms of soft targets and labels, [batch] each, without those of
    weight 0. A row that has no label has no loss by it."""
    kind = task.of_kind

    def terms(logits: "Tensor", batch: "Batch") -> "dict[str, Tensor]":
        found, logits = {}, logits.float()
        if weights.soft_weight:
            soft = kind.soft_loss(logits, batch["teacher_logits"], weights.temperature, heard(batch))
            found["soft"] = weights.soft_weight * soft
        if weights.label_weight:
            by_labels = kind.label_loss(logits, batch["labels"])
            known = by_labels * batch["labelled"] if "labelled" in batch else by_labels
            found["labels"] = weights.label_weight * known
        return found

    return terms


def _last_hidden(batch: "Batch") -> "Tensor":
    """The teacher's states of the highest layer among those that it was asked for."""
    start = "teacher_hidden_"
    return batch[
        max((name for name in batch if name.startswith(start)), key=lambda name: int(name.removeprefix(start)))
    ]
