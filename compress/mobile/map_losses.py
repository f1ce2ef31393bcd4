"""MobileBERT's transfer losses: feature maps and attention, each a value per text, padding left out (2004.02984, 3.4; eq. 1-2)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from palmtop.compress.mobile.layer_maps import normalised

MASKED = -1e4
"""Added to the scores of padding: exp of it is 0 in float32, and 0 times a difference of two such logarithms still 0."""


class MapLoss(NamedTuple):
    """How far two feature maps are apart, [batch] each."""

    shape: Float[Tensor, " batch"]
    """Mean squared difference of the maps after a LayerNorm without scale and shift."""
    mean: Float[Tensor, " batch"]
    """Mean squared difference of the tokens' means, which that LayerNorm took away."""
    variance: Float[Tensor, " batch"]
    """Mean absolute difference of the tokens' variances, the same."""


def map_loss(student: Float[Tensor, "batch tokens width"], teacher: Float[Tensor, "batch tokens width"],
             mask: Int64[Tensor, "batch tokens"]) -> MapLoss:
    """Means over a text's real tokens (and the width).

    The reference codes average over padding too; and the first one (TF1) compares mean and variance with those of all the teacher's
    layers at once, which the second (TF2) mended: here, layer by layer.
    """
    student, teacher = student.float(), teacher.float()
    shape = (normalised(student) - normalised(teacher)).square().mean(-1)
    mean = (student.mean(-1) - teacher.mean(-1)).square()
    variance = (student.var(-1, correction=0) - teacher.var(-1, correction=0)).abs()
    return MapLoss(*(_over_real(values, mask) for values in (shape, mean, variance)))


def log_relations(first: Float[Tensor, "batch tokens inner"], second: Float[Tensor, "batch tokens inner"], heads: int,
                  mask: Int64[Tensor, "batch tokens"]) -> Float[Tensor, "batch heads tokens tokens"]:
    """log softmax(A B^T / sqrt(size of a head)), each row over the real tokens.

    Of queries and keys with a model's own heads, that is its attention; of a thing with itself, MiniLMv2's relation (2012.15828, eq. 3),
    for which the heads may be any number that divides the width.
    """
    def split(values: Tensor) -> Tensor:
        return values.float().reshape(*values.shape[:2], heads, -1).transpose(1, 2)

    scores = split(first) @ split(second).transpose(2, 3) * (first.shape[-1] // heads) ** -0.5
    return log_softmax(scores + (1.0 - mask[:, None, None, :].float()) * MASKED, -1)


def relation_loss(student: Float[Tensor, "batch heads tokens tokens"], teacher: Float[Tensor, "batch heads tokens tokens"],
                  mask: Int64[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    """KL(teacher || student) of logarithms of distributions: mean over heads and a text's real tokens.

    The reference code minimises the cross-entropy, which has the same gradient but ends at the teacher's entropy; the KL ends at 0.
    """
    distance = kl_div(student, teacher, reduction="none", log_target=True).sum(-1).mean(1)
    return _over_real(distance, mask)


def _over_real(values: Float[Tensor, "batch tokens"], mask: Int64[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    real = mask.to(values.dtype)
    return torch.where(mask.bool(), values, 0.0).sum(-1) / real.sum(-1)
