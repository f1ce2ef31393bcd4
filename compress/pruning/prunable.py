"""What of a model is pruned: single weights, blocks of them, attention heads, feed-forward rows; each group of them
with its mask."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter

from palmtop.errors import UserError
from palmtop.models.linears import PARTS, Part, layers_of, part_of
from palmtop.models.pruned_layers import head_size

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Granularity = Literal["weight", "block32", "head", "row", "structured", "hybrid"]
Kind = Literal["weight", "block32", "head", "row"]
KINDS: dict[Granularity, tuple[Kind | None, Kind | None]] = {
    "weight": ("weight", "weight"),
    "block32": ("block32", "block32"),
    "head": ("head", None),
    "row": (None, "row"),
    "structured": ("head", "row"),
    "hybrid": ("block32", "row"),
}
"""What is pruned in the attention and in the feed-forward part."""
BLOCK = 32
"""Side of a block (Lagunas et al. 2021, 2109.04838)."""
ATTENTION: tuple[Part, ...] = ("query", "key", "value", "attention_output")
FEED_FORWARD: tuple[Part, ...] = ("feed_forward_in", "feed_forward_out")


@dataclass(eq=False)
class Group:
    """Things of one kind that lie together and are kept or pruned one by one: a matrix' weights or blocks, a layer's
    heads or rows.

    Heads and rows are masked where they are read, in the columns of the last matrix: that says the same as masking all
    that is theirs (nothing else reads it), and leaves a gradient to those that are pruned, which two masks in a row
    would make 0.
    """

    layer: int
    """The first that they serve, from 0."""
    kind: Kind
    matrices: dict[Part, Linear]
    """Where they lie; the last is the one that the mask multiplies."""
    size: int = 1
    """Columns of the last matrix that are one of them: a head's width."""
    scores: Parameter | None = None
    """What movement learns, [shape]; magnitude has none."""
    mask: Tensor = field(init=False)
    """Which of them are kept, [shape], bool."""

    def __post_init__(self) -> None:
        self.mask = torch.ones(self.shape, dtype=torch.bool)

    @property
    def name(self) -> str:
        """What its scores are called."""
        return f"layer{self.layer}_{self.kind if len(self.matrices) > 1 else self.masked}"

    @property
    def masked(self) -> Part:
        """The matrix that the mask multiplies."""
        return list(self.matrices)[-1]

    @property
    def weight(self) -> Tensor:
        """Of the matrix that the mask multiplies, [outputs, inputs]."""
        return self.matrices[self.masked].weight

    @property
    def shape(self) -> tuple[int, ...]:
        """Of scores and mask."""
        outputs, inputs = self.weight.shape
        if self.kind == "weight":
            return outputs, inputs
        if self.kind == "block32":
            return math.ceil(outputs / BLOCK), math.ceil(inputs / BLOCK)
        return (inputs // self.size,)

    def spread(self, values: Tensor) -> Tensor:
        """Values of the groups' shape as factors of the masked matrix: [outputs, inputs], or [inputs] for heads and
        rows."""
        if self.kind == "weight":
            return values
        if self.kind == "block32":
            outputs, inputs = self.weight.shape
            return values.repeat_interleave(BLOCK, 0)[:outputs].repeat_interleave(BLOCK, 1)[:, :inputs]
        return values.repeat_interleave(self.size)

    def magnitudes(self) -> Tensor:
        """How large each is, [shape]: |w| of a weight, else the root of the sum of its squared weights in all its
        matrices."""
        if self.kind == "weight":
            return self.weight.detach().abs()
        return self._squares().sqrt()

    def fold(self, factor: Tensor) -> None:
        """Multiply the masked matrix by factors of the group's shape, and set to 0 all else that belongs to those of
        factor 0."""
        pruned = factor == 0
        with torch.no_grad():
            # set, not multiplied: a negative weight times 0 is -0, which packs worse
            self.weight.mul_(self.spread(factor)).masked_fill_(self.spread(pruned).expand_as(self.weight), 0.0)
            if self.kind in ("head", "row"):
                for matrix in list(self.matrices.values())[:-1]:
                    matrix.weight.masked_fill_(self.spread(pruned)[:, None], 0.0)
                    matrix.bias.masked_fill_(self.spread(pruned), 0.0)

    def _squares(self) -> Tensor:
        if self.kind == "block32":
            blocks, (outputs, inputs) = self.shape, self.weight.shape
            padded = self.weight.new_zeros(blocks[0] * BLOCK, blocks[1] * BLOCK)
            padded[:outputs, :inputs] = self.weight.detach().square()
            return padded.view(blocks[0], BLOCK, blocks[1], BLOCK).sum(dim=(1, 3))
        *before, last = (matrix.weight.detach().square() for matrix in self.matrices.values())
        of_rows = last.sum(dim=0) + sum(weight.sum(dim=1) for weight in before)
        return of_rows.view(*self.shape, self.size).sum(dim=1)


def groups_of(model: "PreTrainedModel", granularity: Granularity) -> list[Group]:
    """All groups of a model, layer by layer. What several layers share is there once; parts that have no weights left
    are left out.

    Raises:
        UserError: a part whose weight is a sum, so that zeros in it have no meaning.
    """
    kind, size = model.config.model_type, head_size(model.config)
    found: list[Group] = []
    known: set[int] = set()
    for number, layer in enumerate(layers_of(model)):
        parts = {part: _plain(layer, part, kind) for part in PARTS}
        own = {part: matrix for part, matrix in parts.items() if id(matrix) not in known and matrix.weight.numel()}
        for wanted, names in zip(KINDS[granularity], (ATTENTION, FEED_FORWARD), strict=True):
            if wanted is not None:
                found += _groups(number, wanted, {name: own[name] for name in names if name in own}, size)
        known |= {id(matrix) for matrix in parts.values()}
    return found


def _plain(layer: Module, part: Part, model_type: str) -> Linear:
    matrix = part_of(layer, part, model_type)
    if not isinstance(matrix, Linear):
        raise UserError(
            f"the {part.replace('_', ' ')} of a layer is a {type(matrix).__name__}, no plain linear layer, so its "
            "weights can't be pruned: share without corrections (rank 0), or prune before sharing"
        )
    return matrix


def _groups(layer: int, kind: Kind, matrices: dict[Part, Linear], head: int) -> Iterator[Group]:
    if kind in ("weight", "block32"):
        yield from (Group(layer, kind, {part: matrix}) for part, matrix in matrices.items())
    elif matrices:
        yield Group(layer, kind, matrices, head if kind == "head" else 1)
