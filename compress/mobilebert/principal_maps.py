"""Bases in which a narrow model says what a wide one says: principal components of each layer's outputs over a sample
of texts.

A wide model's map n (normalised: mean 0, variance 1) becomes the narrow one's B n, and back with B^T. B's rows sum to 0
over the narrow coordinates as n's values do over the wide ones, so a LayerNorm on either side takes nothing away: with
equal widths B^T LN(B n) = n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.mobilebert.layer_maps import Watched

BATCH = 64
RIDGE = 1e-3
"""Of the features' mean square, added to the diagonal."""


@dataclass(frozen=True)
class Survey:
    """A teacher's normalised maps over the real tokens of a sample."""

    moments: Float[Tensor, "maps width width"]
    """E[n n^T] of the embeddings' output and of each layer's."""
    crossed: Float[Tensor, "layers width width"]
    """E[n_l n_(l-1)^T] for each layer l."""
    first: Float[Tensor, "texts width"]
    """The last layer's map at the first token, which heads read."""
    logits: Float[Tensor, "texts outputs"]


def survey(teacher: Watched, data: Encoded, rows: Sequence[int]) -> Survey:
    """Ask a teacher about some rows. Moments are float64."""
    moments: list[Tensor] = []
    crossed: list[Tensor] = []
    first, logits, tokens = [], [], 0
    order = sorted(rows, key=lambda row: int(data.lengths[row]))
    for start in range(0, len(order), BATCH):
        batch = data.batch(order[start : start + BATCH])
        real = batch["attention_mask"].bool()
        with torch.no_grad():
            seen = teacher(batch)
        maps = [values[real].double() for values in seen.maps]
        moments = _added(moments, [values.T @ values for values in maps])
        crossed = _added(crossed, [above.T @ below for below, above in pairwise(maps)])
        first.append(seen.maps[-1][:, 0])
        logits.append(seen.logits)
        tokens += int(real.sum())
    return Survey(torch.stack(moments) / tokens, torch.stack(crossed) / tokens, torch.cat(first), torch.cat(logits))


def aligned_bases(found: Survey, width: int) -> list[Float[Tensor, "narrow wide"]]:
    """B for the embeddings' output and each layer's: the top width - 1 principal components, mixed evenly over the
    coordinates.

    The mixing is free (it changes neither what is kept nor any distance). For the embeddings it is a random rotation,
    so that no coordinate outgrows the others; for each layer the rotation that brings its coordinates nearest to those
    of the layer below (orthogonal Procrustes), so that a residual connection adds like to like. With width > wide all
    components are kept.
    """
    wide = found.moments.shape[-1]
    kept = min(width, wide) - 1  # values that sum to 0 have one dimension less
    spread = _zero_sum_basis(width, kept)
    components = [torch.linalg.eigh(moment).eigenvectors[:, -kept:] for moment in found.moments]
    rotated = [components[0]]
    for cross, component in zip(found.crossed, components[1:], strict=True):
        left, _, right = torch.linalg.svd(component.T @ cross @ rotated[-1])
        rotated.append(component @ left @ right)
    return [(spread @ component.T).float() for component in rotated]


def scales(found: Survey, bases: Sequence[Float[Tensor, "narrow wide"]]) -> list[float]:
    """The size of a coordinate of B n, root mean square: 1 where B keeps everything and the widths are equal."""
    return [
        float(((basis.double() @ moment) * basis.double()).sum() / len(basis)) ** 0.5
        for moment, basis in zip(found.moments, bases, strict=True)
    ]


def linear_head(
    features: Float[Tensor, "texts width"], answers: Float[Tensor, "texts outputs"]
) -> tuple[Tensor, Tensor]:
    """Weight [outputs, width] and bias [outputs] of the linear map from features to answers: least squares, slightly
    ridged."""
    features, answers = features.double(), answers.double()
    middle, level = features.mean(0), answers.mean(0)
    centred = features - middle
    square = centred.T @ centred
    ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
    weight = torch.linalg.solve(square + ridge, centred.T @ (answers - level)).T
    return weight.float(), (level - weight @ middle).float()


def _zero_sum_basis(width: int, kept: int) -> Float[Tensor, "width kept"]:
    """Orthonormal columns that each sum to 0, in random directions (always the same)."""
    drawn = torch.randn(width, kept, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    basis: Tensor = torch.linalg.qr(drawn - drawn.mean(0)).Q
    return basis


def _added(sums: list[Tensor], more: list[Tensor]) -> list[Tensor]:
    return [first + second for first, second in zip(sums, more, strict=True)] if sums else more
