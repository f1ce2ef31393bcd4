"""The loss of each kind of task on its plain labels."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from palmtop.task import Task

if TYPE_CHECKING:
    from torch import Tensor


def label_loss(task: Task) -> "Callable[[Tensor, Tensor], Tensor]":
    """(outputs, labels) -> [batch]: cross-entropy of logits [batch, labels], or squared error for a regression.

    Of start and end logits [batch, 2, tokens] and the answer's first and last token [batch, 2]: the mean of both
    cross-entropies over all tokens (Devlin et al. 2018, section 4.2).
    """
    from torch.nn.functional import cross_entropy, mse_loss

    if task.kind == "question_answering":
        return lambda logits, labels: cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)
    if task.kind == "regression":
        return lambda logits, labels: mse_loss(logits.squeeze(-1), labels.float(), reduction="none")
    return lambda logits, labels: cross_entropy(logits, labels, reduction="none")
