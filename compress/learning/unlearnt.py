"""In place of a training, where only shapes are wanted: other numbers in the weights that would be trained."""

from typing import TYPE_CHECKING

from palmtop.compress.learning.special import Fitted
from palmtop.compress.learning.training_settings import AnyTraining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MOVED = 1e-3
"""Standard deviation of what is added to each weight."""


def unlearnt(model: "PreTrainedModel", settings: AnyTraining) -> Fitted:
    """Move every weight that a training would, in place, by a little noise.

    New norms are all 1 and new biases all 0; a training leaves no two of them alike, and so does this: a file holds
    equal tensors once, and would be smaller than a trained one by these.
    """
    import torch

    random = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn(weight.shape, generator=random).to(weight.device), alpha=MOVED)
    return Fitted(0, 1, "cpu", "float32", {})
