"""What sentence embeddings are learnt by: a value for each row of a batch, of vectors of any length (their cosine
counts)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def unit(vectors: "Tensor") -> "Tensor":
    """Each vector brought to length 1, in float32: [..., width]."""
    from torch.nn.functional import normalize

    return normalize(vectors.float(), dim=-1)


def cosine_loss(first: "Tensor", second: "Tensor", targets: "Tensor") -> "Tensor":
    """(cos(u, v) - y)^2 of each pair, [pairs, width] x 2, [pairs] -> [pairs] (Reimers and Gurevych 2019, 1908.10084,
    section 3: regression).

    Args:
        targets: the ratings, brought to 0 to 1.
    """
    return (_cosines(first, second) - targets.float()).square()


def contrastive_loss(first: "Tensor", second: "Tensor", same: "Tensor", margin: float) -> "Tensor":
    """1/2 (y d^2 + (1 - y) max(0, m - d)^2) of each pair (Hadsell, Chopra and LeCun 2006, eq. 4), with d = 1 - cos.

    The paper's Y is 1 for pairs that are not alike; here `same` is 1 for those that are, as data sets have it.
    """
    distance, same = 1 - _cosines(first, second), same.float()
    return (same * distance.square() + (1 - same) * (margin - distance).clamp(min=0).square()) / 2


def multiple_negatives_loss(first: "Tensor", second: "Tensor", scale: float) -> "Tensor":
    """Cross-entropy of each first text's own second text among all second texts of the batch, by scale times cosine:
    [pairs, width] x 2 -> [pairs] (Henderson et al. 2017, 1705.00652, section 4.4, with cosines for dot products).

    Two equal second texts in a batch count as each other's negatives. Among several processes, or accumulated batches,
    a batch is what one of them reads at a time.
    """
    import torch
    from torch.nn.functional import cross_entropy

    scores = scale * unit(first) @ unit(second).T
    return cross_entropy(scores, torch.arange(len(scores), device=scores.device), reduction="none")


def semi_hard_triplet_loss(vectors: "Tensor", classes: "Tensor", margin: float) -> "Tensor":
    """max(0, d(a, p) - d(a, n) + m), the mean over an anchor's positives, [texts, width], [texts] -> [texts] (Schroff,
    Kalenichenko and Philbin 2015, 1503.03832, eq. 1 to 4).

    d is the squared distance of vectors of length 1. For each positive, n is the nearest negative that is farther than
    it; where there is none, the farthest negative. The paper draws n among such; here it is the hardest of them. A text
    without a positive or a negative in the batch has the loss 0.
    """
    distances, positive, negative = _batch(vectors, classes)
    farther = negative[:, None, :] & (distances[:, None, :] > distances[:, :, None])  # [anchor, positive, negative]
    nearest = distances[:, None, :].expand(farther.shape).masked_fill(~farther, float("inf")).amin(-1)
    farthest = distances.masked_fill(~negative, float("-inf")).amax(-1, keepdim=True).expand_as(nearest)
    chosen = nearest.where(farther.any(-1), farthest)
    counted = positive & negative.any(-1, keepdim=True)
    losses = (distances - chosen + margin).clamp(min=0).masked_fill(~counted, 0.0)
    return losses.sum(-1) / counted.sum(-1).clamp(min=1)


def hardest_triplet_loss(vectors: "Tensor", classes: "Tensor", margin: float) -> "Tensor":
    """max(0, max_p d(a, p) - min_n d(a, n) + m): the farthest positive and the nearest negative in the batch (Hermans,
    Beyer and Leibe 2017, 1703.07737, eq. 5), d as in `semi_hard_triplet_loss`."""
    distances, positive, negative = _batch(vectors, classes)
    far = distances.masked_fill(~positive, float("-inf")).amax(-1)
    near = distances.masked_fill(~negative, float("inf")).amin(-1)
    counted = positive.any(-1) & negative.any(-1)
    return (far - near + margin).masked_fill(~counted, 0.0).clamp(min=0)


def embedding_loss(student: "Tensor", teacher: "Tensor") -> "Tensor":
    """1 - cos of the student's and the teacher's vector of a text, [texts, width] x 2 -> [texts]: half the squared
    distance of the two at length 1, so that cosine and MSE are one loss here."""
    return 1 - _cosines(student, teacher)


def similarity_loss(student: "Tensor", teacher: "Tensor") -> "Tensor":
    """The mean over the batch's texts j of (cos(s_i, s_j) - cos(t_i, t_j))^2, [texts, width] and [texts, another width]
    -> [texts] (Tung and Mori 2019, 1907.09682, eq. 4, of cosines)."""
    ours, theirs = unit(student), unit(teacher)
    return (ours @ ours.T - theirs @ theirs.T).square().mean(-1)


def _cosines(first: "Tensor", second: "Tensor") -> "Tensor":
    return (unit(first) * unit(second)).sum(-1)


def _batch(vectors: "Tensor", classes: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """Squared distances of all texts of a batch, which are positives of which, and which negatives, [texts, texts]
    each."""
    import torch

    one = unit(vectors)
    same = classes[:, None] == classes[None, :]
    itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
    return 2 - 2 * one @ one.T, same & ~itself, ~same
