"""MobileBERT's transfer losses: feature maps and attention, each a value per text, padding left out (2004.02984, 3.4;
eq. 1-2)."""

from typing import NamedTuple

from jaxtyping import Float, Int64
from torch import Tensor

from palmtop.compress.distillation.feature_losses import _over_real
from palmtop.compress.mobilebert.layer_maps import normalised


class MapLoss(NamedTuple):
    """How far two feature maps are apart, [batch] each."""

    shape: Float[Tensor, " batch"]
    """Mean squared difference of the maps after a LayerNorm without scale and shift."""
    mean: Float[Tensor, " batch"]
    """Mean squared difference of the tokens' means, which that LayerNorm took away."""
    variance: Float[Tensor, " batch"]
    """Mean absolute difference of the tokens' variances, the same."""


def map_loss(
    student: Float[Tensor, "batch tokens width"],
    teacher: Float[Tensor, "batch tokens width"],
    mask: Int64[Tensor, "batch tokens"],
) -> MapLoss:
    """Means over a text's real tokens (and the width).

    The reference codes average over padding too; and the first one (TF1) compares mean and variance with those of all
    the teacher's layers at once, which the second (TF2) mended: here, layer by layer.
    """
    student, teacher = student.float(), teacher.float()
    shape = (normalised(student) - normalised(teacher)).square().mean(-1)
    mean = (student.mean(-1) - teacher.mean(-1)).square()
    variance = (student.var(-1, correction=0) - teacher.var(-1, correction=0)).abs()
    return MapLoss(*(_over_real(values, mask) for values in (shape, mean, variance)))
