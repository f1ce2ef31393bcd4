"""The student before it learns: some of the teacher's layers copied, or a fresh model of its family with smaller
widths."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.models.family import family_named, head_count
from palmtop.models.opening import keep_layers
from palmtop.models.reshaped import changed, rebuilt

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Sizes:
    """Widths that differ from the teacher's; None: the teacher's own."""

    width: int | None = None
    """Of hidden states."""
    heads: int | None = None
    feed_forward: int | None = None
    """Inside the feed-forward parts."""

    @property
    def any(self) -> bool:
        """Whether anything differs, so that nothing can be copied."""
        return (self.width, self.heads, self.feed_forward) != (None, None, None)


def check_family(family: str, changes: Sequence[str]) -> None:
    """Raises: UserError: a teacher whose family has other widths besides, or whose config says more than its class
    can."""
    if family_named(family).bottlenecks:
        raise UserError(
            f"width, heads and feed_forward don't say enough for the family '{family}', which has bottlenecks too: "
            "keep its widths, or use the stage mobilebert"
        )
    if changes:
        raise UserError(
            f"the teacher was reshaped ({', '.join(changes)}), so a student of other widths can't be built after it: "
            "keep its widths, or distil first and reshape the student"
        )


def _check_words(family: Family, sizes: Sizes) -> None:
    """Raises: UserError: a size that models of this family can't be given."""
    if sizes.heads is not None and not family.has_heads:
        raise UserError(
            f"heads is {sizes.heads}, but a model of the family '{family.model_type}' has none: leave it out"
        )
    if sizes.feed_forward is not None and family.feed_forward is None:
        raise UserError(
            f"feed_forward is {sizes.feed_forward}, but in the family '{family.model_type}' it follows from the width: "
            "leave it out"
        )


def make_student(teacher: "PreTrainedModel", layers: Sequence[int], sizes: Sizes, seed: int) -> "PreTrainedModel":
    """A student with so many layers: the teacher's, copied, or where sizes differ random ones.

    Raises:
        UserError: sizes that no such model can have.
    """
    return fresh(teacher, len(layers), sizes, seed) if sizes.any else keep_layers(teacher, layers)


def fresh(teacher: "PreTrainedModel", layers: int, sizes: Sizes, seed: int) -> "PreTrainedModel":
    """A model of the teacher's family and vocabulary with random weights.

    Raises:
        UserError: heads that don't divide the width.
    """
    import torch

    config = copy.deepcopy(teacher.config)
    written, family = config.to_dict(), family_named(config.model_type)
    check_family(family.model_type, changed(written))
    _check_words(family, sizes)
    width, heads = sizes.width or config.hidden_size, sizes.heads or head_count(config)
    if width % heads:
        raise UserError(
            f"{heads} heads don't divide the width {width}: choose a width that is a multiple of them, or other heads"
        )
    same = [name for name in ("embedding_size", "pooler_hidden_size") if written.get(name) == config.hidden_size]
    counted = {"num_attention_heads": heads} if family.has_heads else {}
    words = {family.layer_count: layers, "hidden_size": width} | counted | dict.fromkeys(same, width)
    for name, value in words.items():
        setattr(config, name, value)
    if family.head_size is not None and written.get(family.head_size) is not None:
        setattr(config, family.head_size, width // heads)
    for word in family.shares_of_width:
        shares = getattr(config, word)
        others = [max(1, share * width // sum(shares)) for share in shares[1:]]
        setattr(config, word, (width - sum(others), *others))
    if sizes.feed_forward is not None and family.feed_forward is not None:
        setattr(config, family.feed_forward, sizes.feed_forward)
    for word in family.listed_by_layer:
        setattr(config, word, getattr(config, word)[:layers])
    torch.manual_seed(seed)
    return rebuilt(teacher, config)
