"""The loss that several kinds of tasks take of a teacher's answers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def soft_loss(student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
    """T^2 KL(softmax(z_t / T) || softmax(z_s / T)), [batch, ..., labels] x 2 -> [batch, ...] (Hinton et al. 2015;
    1910.01108, 3).

    Computed in float32. Zero when the logits are equal. T^2 keeps the gradient's size as T changes.
    """
    from torch.nn.functional import kl_div, log_softmax

    target, answer = log_softmax(teacher.float() / temperature, -1), log_softmax(student.float() / temperature, -1)
    return kl_div(answer, target, reduction="none", log_target=True).sum(-1) * temperature**2
