"""The losses of distilled language models: the right words, the teacher's distribution over all words, its hidden
states' direction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from palmtop.compress.language_models.step_means import IGNORED, per_text
from palmtop.compress.language_models.word_buckets import Buckets, bucket_loss
from palmtop.models.language_model import Answering, Asked
from palmtop.task_kinds.losses import soft_loss

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch, Loss


@dataclass(frozen=True)
class Weights:
    """Of each term; one of weight 0 is left out."""

    words: float
    soft: float = 0.0
    cosine: float = 0.0
    order: float = 0.0
    temperature: float = 1.0
    everywhere: bool = False
    """Soft targets at every real position, not only at those with a target."""


def language_loss(weights: Weights, head: Asked, inputs: tuple[str, ...], teacher: Answering | None) -> "Loss":
    """The weighted terms, each the mean over its positions in the step (Sanh et al. 2019, 1910.01108, 3, and the
    reference code):

    - words: cross-entropy at the positions with a target (hidden words, or each next one);
    - soft: T^2 KL(softmax(z_t / T) || softmax(z_s / T)), flattened to tokens, at every real position or those with a
    target;
    - cosine: 1 - cos of the last hidden states, at every real position, specials too;
    - order: cross-entropy of 'swapped or not', a value for each text (Lan et al. 2019, 1909.11942, 3.1).

    The paper writes the soft term as sum(t log s), without sign or T^2; the code's form is this one. The teacher's
    answers are in the batch where they were cached, as buckets; otherwise it is asked, and sees the same hidden words.
    `inputs` are the student's.
    """

    def loss(student: "PreTrainedModel", batch: "Batch") -> dict[str, Tensor]:
        real, targets = batch["attention_mask"].bool(), batch["token_labels"] != IGNORED
        head.chosen = chosen = real if weights.soft and weights.everywhere else targets
        output = student(**{name: batch[name] for name in inputs}, output_hidden_states=weights.cosine > 0)
        logits = output[0]
        terms = {}
        if weights.soft or weights.cosine:
            taught, hidden = _taught(batch, chosen, teacher, weights.cosine > 0)
        if weights.soft:
            share = batch["token_share" if weights.everywhere else "position_share"]
            terms["soft"] = weights.soft * share * per_text(_soft(logits, taught, weights.temperature), chosen)
        if weights.words:
            values = cross_entropy(logits[targets[chosen]].float(), batch["token_labels"][targets], reduction="none")
            terms["words"] = weights.words * batch["position_share"] * per_text(values, targets)
        if weights.cosine:
            values = cosine_distance(output.hidden_states[-1][real], hidden[real])
            terms["cosine"] = weights.cosine * batch["token_share"] * per_text(values, real)
        if weights.order:
            terms["order"] = weights.order * cross_entropy(output.sop_logits.float(), batch["labels"], reduction="none")
        return terms

    return loss


def teachers_own(teacher: Answering) -> "Loss":
    """What a teacher itself loses at the positions with a target, whoever is trained."""

    def loss(_: "PreTrainedModel", batch: "Batch") -> dict[str, Tensor]:
        targets = batch["token_labels"] != IGNORED
        logits, _hidden = teacher.answer(batch, targets, hidden=False)
        values = cross_entropy(logits.float(), batch["token_labels"][targets], reduction="none")
        return {"words": batch["position_share"] * per_text(values, targets)}

    return loss


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cos, [positions, width] x 2 -> [positions], in float32."""
    return 1 - cosine_similarity(student.float(), teacher.float(), dim=-1)


def _taught(batch: "Batch", chosen: Tensor, teacher: Answering | None, hidden: bool) -> tuple[Tensor | Buckets, Tensor]:
    """What the teacher says, from the cache where the batch brings it."""
    if "teacher_ids" in batch:
        said = Buckets(batch["teacher_ids"], batch["teacher_log_probabilities"], batch["teacher_log_rest"])
        return said, batch.get("teacher_hidden", chosen)
    assert teacher is not None  # a stage with soft targets or cosine has one
    logits, states = teacher.answer(batch, chosen, hidden)
    return logits, states if states is not None else torch.empty(0)


def _soft(student: Tensor, teacher: Tensor | Buckets, temperature: float) -> Tensor:
    return (
        bucket_loss(student, teacher, temperature)
        if isinstance(teacher, Buckets)
        else soft_loss(student, teacher, temperature)
    )
