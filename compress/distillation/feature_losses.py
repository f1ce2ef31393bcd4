"""How far a student's features are from its teacher's: one value per text, padding left out, in float32."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from palmtop.compress.distillation.answer_losses import cosine_loss, heard
from palmtop.compress.distillation.matches import OWN_ATTENTION, RELATIONS, STATES, Match
from palmtop.errors import raise_all

if TYPE_CHECKING:
    from palmtop.compress.learning.training_loop import Batch

Taken = Sequence[tuple[Tensor, ...]]
"""For each match the tensors it is made of, [batch, tokens, width] each."""


@dataclass(frozen=True)
class HeadSizes:
    """Rows of queries, keys and values that are one head's."""

    teacher: int
    student: int


def state_loss(
    student: Float[Tensor, "batch tokens width"],
    teacher: Float[Tensor, "batch tokens width"],
    mask: Int[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """Mean squared difference over the width and a text's real tokens (1909.10351, eq. 8 and 9).

    The reference code takes the mean over padding and the whole batch.
    """
    distance = (student.float() - teacher.float()).square().mean(-1) * mask
    return distance.sum(-1) / mask.sum(-1).clamp(min=1)


def score_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    sizes: HeadSizes,
    mask: Int[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """Mean squared difference of q k / sqrt(d), over heads and pairs of a text's real tokens (1909.10351, eq. 7).

    The paper's A is unnormalised, as here. The reference code sets the scores of padding to 0 on both sides and counts
    them, so that its loss is the smaller the more padding there is.
    """
    difference = _scores(student, sizes.student) - _scores(teacher, sizes.teacher)
    real = (mask[:, None, :, None] * mask[:, None, None, :]).float()
    return (difference.square() * real).sum((1, 2, 3)) / (mask.sum(-1).square() * difference.shape[1])


def attention_square_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    sizes: HeadSizes,
    mask: Int[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """Mean squared difference of attention probabilities, over heads and pairs of a text's real tokens."""
    ours, theirs = (_log_attention(*side, mask).exp() for side in ((student, sizes.student), (teacher, sizes.teacher)))
    real = (mask[:, None, :, None] * mask[:, None, None, :]).float()
    return ((ours - theirs).square() * real).sum((1, 2, 3)) / (mask.sum(-1).square() * ours.shape[1])


def match_loss(
    match: Match,
    student: tuple[Tensor, ...],
    teacher: tuple[Tensor, ...],
    sizes: HeadSizes,
    mask: Int[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """A match's loss, without its weight.

    Relations are 2012.15828, eq. 3: KL of softmax(X X^T / sqrt(width / R)), mean over R heads and real tokens, each
    model by its own width. Attention by KL is 2002.10957, eq. 5.
    """
    if match.feature in STATES:
        return (state_loss if match.distance == "mse" else cosine_loss)(student[0], teacher[0].float(), mask)
    if match.feature == "attention_scores":
        return score_loss(student, teacher, sizes, mask)
    if match.feature == "attention" and match.distance == "mse":
        return attention_square_loss(student, teacher, sizes, mask)
    if match.feature == "attention":
        return relation_loss(
            _log_attention(student, sizes.student, mask), _log_attention(teacher, sizes.teacher, mask), mask
        )
    assert match.relation_heads is not None  # the match checked itself
    ours, theirs = (log_relations(made[0], made[0], match.relation_heads, mask) for made in (student, teacher))
    return relation_loss(ours, theirs, mask)


def transfer_terms(matches: Sequence[Match], sizes: HeadSizes) -> "Callable[[Taken, Taken, Batch], dict[str, Tensor]]":
    """(student's, teacher's, batch) -> the weighted losses by feature, each the sum over its matches, [batch]."""

    def terms(student: Taken, teacher: Taken, batch: "Batch") -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for match, ours, theirs in zip(matches, student, teacher, strict=True):
            value = match.weight * match_loss(match, ours, theirs, sizes, heard(batch))
            found[match.feature] = found[match.feature] + value if match.feature in found else value
        return found

    return terms


def check_shapes(matches: Sequence[Match], student: Taken, teacher: Taken, sizes: HeadSizes) -> None:
    """Compare what both models really give (a pruned layer has fewer heads than its config says) with what the matches
    need.

    Raises:
        UserError: every fault, together.
    """
    raise_all(
        [
            fault
            for match, ours, theirs in zip(matches, student, teacher, strict=True)
            if (fault := _fault(match, ours[0].shape[-1], theirs[0].shape[-1], sizes))
        ]
    )


def _fault(match: Match, ours: int, theirs: int, sizes: HeadSizes) -> str | None:
    where = (
        f"the match {match.feature} of the teacher's layer {match.teacher_layer} and the student's "
        f"{match.student_layer}"
    )
    if (
        match.feature in RELATIONS
        and match.relation_heads
        and (ours % match.relation_heads or theirs % match.relation_heads or not ours)
    ):
        fitting = [count for count in range(1, min(ours, theirs) + 1) if ours % count == theirs % count == 0]
        return (
            f"{where}: relation_heads {match.relation_heads} doesn't divide the widths {theirs} and {ours}: choose "
            f"one of {', '.join(map(str, fitting)) or 'none'}"
        )
    if match.feature in OWN_ATTENTION and ours // sizes.student != theirs // sizes.teacher:
        return (
            f"{where}: the teacher has {theirs // sizes.teacher} heads there, the student {ours // sizes.student}: "
            "take relations (minilm) instead"
        )
    return None


def _scores(pair: Sequence[Tensor], head_size: int) -> Float[Tensor, "batch heads tokens tokens"]:
    """q k / sqrt(d) of each head, of queries and keys."""
    query, key = (values.float().reshape(*values.shape[:2], -1, head_size).transpose(1, 2) for values in pair)
    scores: Tensor = query @ key.transpose(2, 3) * head_size**-0.5
    return scores


def _log_attention(
    pair: Sequence[Tensor], head_size: int, mask: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch heads tokens tokens"]:
    query, key = pair
    return log_relations(query, key, query.shape[-1] // head_size, mask)


MASKED = -1e4
"""Added to the scores of padding: exp of it is 0 in float32, and 0 times a difference of two such logarithms still
0."""


def log_relations(
    first: Float[Tensor, "batch tokens inner"],
    second: Float[Tensor, "batch tokens inner"],
    heads: int,
    mask: Int64[Tensor, "batch tokens"],
) -> Float[Tensor, "batch heads tokens tokens"]:
    """log softmax(A B^T / sqrt(size of a head)), each row over the real tokens.

    Of queries and keys with a model's own heads, that is its attention; of a thing with itself, MiniLMv2's relation
    (2012.15828, eq. 3), for which the heads may be any number that divides the width.
    """

    def split(values: Tensor) -> Tensor:
        return values.float().reshape(*values.shape[:2], heads, -1).transpose(1, 2)

    scores = split(first) @ split(second).transpose(2, 3) * (first.shape[-1] // heads) ** -0.5
    return log_softmax(scores + (1.0 - mask[:, None, None, :].float()) * MASKED, -1)


def relation_loss(
    student: Float[Tensor, "batch heads tokens tokens"],
    teacher: Float[Tensor, "batch heads tokens tokens"],
    mask: Int64[Tensor, "batch tokens"],
) -> Float[Tensor, " batch"]:
    """KL(teacher || student) of logarithms of distributions: mean over heads and a text's real tokens.

    The reference code minimises the cross-entropy, which has the same gradient but ends at the teacher's entropy; the
    KL ends at 0.
    """
    distance = kl_div(student, teacher, reduction="none", log_target=True).sum(-1).mean(1)
    return _over_real(distance, mask)


def _over_real(values: Float[Tensor, "batch tokens"], mask: Int64[Tensor, "batch tokens"]) -> Float[Tensor, " batch"]:
    real = mask.to(values.dtype)
    return torch.where(mask.bool(), values, 0.0).sum(-1) / real.sum(-1)
