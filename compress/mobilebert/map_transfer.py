"""Knowledge transfer between two models layer by layer: which layers face each other, in what form, and the weighted
terms of the loss."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Linear, ModuleList

from palmtop.compress.distillation.feature_losses import log_relations, relation_loss
from palmtop.compress.distillation.matches import Tap
from palmtop.compress.distillation.taps import TeacherTaps
from palmtop.compress.mobilebert.layer_maps import Seen, Watched, normalised, norms_of
from palmtop.compress.mobilebert.map_losses import map_loss
from palmtop.models.family import family_named
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch
    from palmtop.models.family import family_named
from palmtop.models.linears import Part

SMALLEST_SCALE = 1e-3
"""A LayerNorm's scale below which what came before it can't be told from what comes after."""
QUERY_KEY_VALUE: "tuple[Literal['query', 'key', 'value'], ...]" = ("query", "key", "value")
PAIRS: "tuple[tuple[Part, Part], ...]" = (("query", "query"), ("key", "key"), ("value", "value"))
"""MiniLMv2's relations."""


@dataclass(frozen=True)
class MapWeights:
    """What each term counts; 0 leaves it out."""

    maps: float
    means: float = 0.0
    variances: float = 0.0
    attention: float = 0.0


@dataclass(frozen=True)
class Attention:
    """How attention is compared."""

    form: Literal["maps", "relations", "none"]
    """Attention distributions, which need as many heads on both sides; or MiniLMv2's relations; or not at all."""
    heads: int = 1
    """The models' own, or those of the relations."""


class MapTeacher:
    """A teacher as a student of some width hears it: all made of its hidden states, which a batch brings
    (`teacher_hidden_<level>`)."""

    def __init__(
        self, model: "PreTrainedModel", bases: "Sequence[Float[Tensor, 'narrow wide']] | None", attention: bool
    ) -> None:
        """
        Args:
            bases: for each level, into the student's width; None: the maps as they are.
            attention: whether queries, keys and values are wanted too.
        """
        self.model, self._bases, self._attention = model, list(bases) if bases is not None else None, attention
        self._norms = None if family_named(model.config.model_type).bottlenecks else norms_of(model)
        self._taps = {
            level: TeacherTaps(model, [Tap(part, level) for part in QUERY_KEY_VALUE])
            for level, _ in enumerate(layers_of(model), start=1)
        }

    def hidden(self, levels: Sequence[int]) -> tuple[int, ...]:
        """The hidden states that are needed for some levels."""
        return tuple(sorted({*levels, *(level - 1 for level in levels if self._attention)}))

    def map(self, batch: "Batch", level: int) -> Float[Tensor, "batch tokens width"]:
        """The map of a level: for an ordinary teacher what its LayerNorm made before scale and shift, in the student's
        width and normalised again where a basis cut something off."""
        hidden = batch[f"teacher_hidden_{level}"].float()
        if self._norms is None:
            return hidden
        scale, shift = (
            self._norms[level].get_parameter(name).detach().to(hidden.device) for name in ("weight", "bias")
        )
        values = torch.where(scale.abs() > SMALLEST_SCALE, (hidden - shift) / scale, 0.0)
        return values if self._bases is None else normalised(values @ self._bases[level].to(hidden.device).T)

    def projections(self, batch: "Batch", level: int) -> "dict[Part, Tensor]":
        """Queries, keys and values of a level's layer."""
        found = self._taps[level](batch)
        return {part: found[Tap(part, level)] for part in QUERY_KEY_VALUE}


@dataclass(frozen=True)
class Transfer:
    """A student, its teacher, and how they are compared."""

    student: Watched
    teacher: MapTeacher
    attention: Attention
    weights: MapWeights
    facing: tuple[int, ...]
    """For each layer of the student the teacher's that it imitates; layers count from 1."""
    projections: ModuleList | None = None
    """Learned, from the student's width to the teacher's, one for each of the student's layers; they are thrown away
    afterwards."""

    def terms(self, seen: Seen, batch: "Batch", layers: Sequence[int]) -> dict[str, Float[Tensor, " batch"]]:
        """The weighted terms, each the mean over these layers of the student (from 1), without those of weight 0."""
        apart = [self._apart(seen, batch, layer) for layer in layers]
        return {name: weight * torch.stack([one[name] for one in apart]).mean(0) for name, weight in self._used.items()}

    @property
    def _used(self) -> dict[str, float]:
        """Terms with a weight."""
        weights = asdict(self.weights) | ({"attention": 0.0} if self.attention.form == "none" else {})
        return {name: weight for name, weight in weights.items() if weight}

    def hidden(self, layers: Sequence[int]) -> tuple[int, ...]:
        """The teacher's hidden states that these layers of the student are compared with."""
        return self.teacher.hidden([self.facing[layer - 1] for layer in layers])

    def _apart(self, seen: Seen, batch: "Batch", layer: int) -> dict[str, Float[Tensor, " batch"]]:
        """How far one layer of the student is from the teacher's that it faces."""
        level, own, mask = self.facing[layer - 1], seen.maps[layer], batch["attention_mask"]
        maps = map_loss(
            self.projections[layer - 1](own) if self.projections else own, self.teacher.map(batch, level), mask
        )
        found = {"maps": maps.shape, "means": maps.mean, "variances": maps.variance}
        if "attention" in self._used:
            found["attention"] = self._attention_apart(
                seen.projections[layer - 1], self.teacher.projections(batch, level), mask
            )
        return found

    def _attention_apart(
        self, ours: "dict[Part, Tensor]", theirs: "dict[Part, Tensor]", mask: Tensor
    ) -> Float[Tensor, " batch"]:
        """KL of the attention, or the sum of the relations' three."""
        losses = []
        for first, second in PAIRS if self.attention.form == "relations" else (("query", "key"),):
            own, old = (log_relations(side[first], side[second], self.attention.heads, mask) for side in (ours, theirs))
            losses.append(relation_loss(own, old, mask))
        return torch.stack(losses).sum(0)


def facing_layers(student: int, teacher: int) -> tuple[int, ...]:
    """For each of the student's layers l the teacher's ceil(l L_t / L_s), from 1: the end of its share of the
    teacher."""
    return tuple(math.ceil(layer * teacher / student) for layer in range(1, student + 1))


def common_heads(student: int, teacher: int, size: int = 8) -> int:
    """The most relation heads that divide both widths and leave the student's heads at least `size` wide; 1 where there
    is no more."""
    divisor = math.gcd(student, teacher)
    return max(
        heads for heads in range(1, divisor + 1) if divisor % heads == 0 and (student // heads >= size or heads == 1)
    )


def learned_projections(bases: "Sequence[Float[Tensor, 'narrow wide']]", facing: Sequence[int]) -> ModuleList:
    """Linear layers from the student's width to the teacher's; they start as B^T."""
    made = ModuleList()
    for level in facing:
        narrow, wide = bases[level].shape
        linear = Linear(narrow, wide)
        with torch.no_grad():
            linear.weight.copy_(bases[level].T)
            linear.bias.zero_()
        made.append(linear)
    return made
