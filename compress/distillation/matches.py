"""Which layer of a student imitates which of its teacher's, in what: a list of matches, written out or by the name of a
preset."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from palmtop.errors import UserError, raise_all
from palmtop.models.family import FAMILIES, family_named
from palmtop.settings import Settings

Feature = Literal[
    "hidden", "embedding", "attention_scores", "attention", "query_relation", "key_relation", "value_relation"
]
Distance = Literal["mse", "cosine", "kl"]
Projection = Literal["none", "own", "shared"]
TapKind = Literal["hidden", "query", "key", "value"]

DISTANCES: dict[Feature, tuple[Distance, ...]] = {
    "hidden": ("mse", "cosine"),
    "embedding": ("mse", "cosine"),
    "attention_scores": ("mse",),
    "attention": ("kl", "mse"),
    "query_relation": ("kl",),
    "key_relation": ("kl",),
    "value_relation": ("kl",),
}
"""What each feature can be compared by; the first is the default."""
TAPS: dict[Feature, tuple[TapKind, ...]] = {
    "hidden": ("hidden",),
    "embedding": ("hidden",),
    "attention_scores": ("query", "key"),
    "attention": ("query", "key"),
    "query_relation": ("query",),
    "key_relation": ("key",),
    "value_relation": ("value",),
}
"""What each feature is made of."""
STATES: tuple[Feature, ...] = ("hidden", "embedding")
RELATIONS: tuple[Feature, ...] = ("query_relation", "key_relation", "value_relation")
OWN_ATTENTION: tuple[Feature, ...] = ("attention_scores", "attention")

OTHER_TERMS = {name: family.score_terms for name, family in FAMILIES.items() if family.score_terms}
"""Families whose attention scores are more than queries times keys, by what else is in them."""


class Tap(NamedTuple):
    """A place in a model whose values are wanted, [batch, tokens, width]."""

    kind: TapKind
    """hidden: the layer's output. query, key, value: what the layer's linears make of their input, biases in, heads
    side by side."""
    layer: int
    """As in `hidden_states`: 0 is the embeddings' output, the first layer is 1."""


class Match(Settings):
    """One comparison. Layers are counted as in `hidden_states`: 0 is the embeddings' output, m the output of layer m
    (the first is 1)."""

    feature: Feature
    """hidden: the layer's output. embedding: the embeddings' output. attention_scores: q k / sqrt(d) of each head,
    before the softmax. attention: after it. query_relation, key_relation, value_relation: MiniLMv2's, of queries (keys,
    values) with each other. Queries, keys and values are raw: as the layer's linears make them of what they are given,
    without any term for positions."""
    teacher_layer: int = Field(default=0, ge=0)
    """Of the teacher; for attention and relations the layer in which it happens."""
    student_layer: int = Field(default=0, ge=0)
    """Of the student."""
    loss: Distance | None = None
    """mse for states and scores, kl for attention and relations by default; states also cosine, attention also mse."""
    weight: float = Field(default=1.0, gt=0)
    """In the sum of all losses."""
    projection: Projection = "none"
    """A learnt linear layer with bias from the student's width into the teacher's, for states: the match's own, or one
    that all 'shared' ones use; it is thrown away at the end."""
    relation_heads: int | None = Field(default=None, ge=1)
    """R, the heads that relations are split into; it must divide both widths."""

    @model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if self.loss is not None and self.loss not in DISTANCES[self.feature]:
            raise ValueError(
                f"{self.feature} can't be compared by {self.loss}; choose {' or '.join(DISTANCES[self.feature])}"
            )
        if self.feature == "embedding" and (self.teacher_layer or self.student_layer):
            raise ValueError("embedding is layer 0 on both sides; leave the layers out, or take the feature hidden")
        if self.feature not in STATES and not (self.teacher_layer and self.student_layer):
            raise ValueError(f"{self.feature} happens within a layer: give teacher_layer and student_layer, from 1 on")
        if self.feature not in STATES and self.projection != "none":
            raise ValueError(f"{self.feature} needs no projection, whatever the widths; leave it out")
        if (self.feature in RELATIONS) != (self.relation_heads is not None):
            raise ValueError(
                f"relation_heads belongs to relations, and must be given for them; the feature is {self.feature}"
            )
        return self

    @property
    def distance(self) -> Distance:
        """The loss, also where it is the default one."""
        return self.loss or DISTANCES[self.feature][0]

    def taps(self, layer: int) -> tuple[Tap, ...]:
        """What the feature is made of at a layer."""
        return tuple(Tap(kind, layer) for kind in TAPS[self.feature])


@dataclass(frozen=True)
class Pair:
    """What a list of matches depends on."""

    family: str
    teacher_layers: int
    student_layers: int
    teacher_width: int
    """Of hidden states."""
    student_width: int
    teacher_heads: int
    student_heads: int
    layer_map: tuple[int, ...]
    """The teacher's layer for each of the student's, from the first on."""
    student_family: str | None = None
    """None: the teacher's."""

    @property
    def families(self) -> tuple[str, ...]:
        """The teacher's and the student's, or the one of both."""
        return tuple(dict.fromkeys((self.family, self.student_family or self.family)))

    @property
    def projection(self) -> Projection:
        """What states need: nothing between equal widths."""
        return "none" if self.teacher_width == self.student_width else "own"

    @property
    def mapped(self) -> list[tuple[int, int]]:
        """(teacher's layer, student's layer)."""
        return [(theirs, ours) for ours, theirs in enumerate(self.layer_map, 1)]


Preset = Literal["tinybert", "minilm", "minilm_v1", "hidden"]


def tinybert(
    pair: Pair, projection: Projection | None = None, embedding: float = 1.0, hidden: float = 1.0, scores: float = 1.0
) -> list[Match]:
    """Embeddings, every mapped layer's output, and its unnormalised attention scores (Jiao et al. 2020, 1909.10351, eq.
    7-9).

    A weight of 0 leaves a kind out. Projections are each match's own, as in the paper; its code has a single one
    ('shared').
    """
    kind = pair.projection if projection is None else projection
    found = [Match(feature="embedding", weight=embedding, projection=kind)] if embedding else []
    for theirs, ours in pair.mapped:
        if hidden:
            found.append(
                Match(feature="hidden", teacher_layer=theirs, student_layer=ours, weight=hidden, projection=kind)
            )
        if scores:
            found.append(Match(feature="attention_scores", teacher_layer=theirs, student_layer=ours, weight=scores))
    return found


def minilm(
    pair: Pair, teacher_layer: int | None = None, heads: int | None = None, weights: Sequence[float] = (1.0, 1.0, 1.0)
) -> list[Match]:
    """Relations of queries, keys and values between one layer of the teacher and the student's last (Wang et al. 2020,
    2012.15828, 3).

    Args:
        teacher_layer: the last by default.
        heads: R; by default the paper's 48, or 64 for a teacher at least 1024 wide.
        weights: of queries, keys, values; 0 leaves one out.
    """
    split = heads if heads is not None else default_relation_heads(pair.teacher_width)
    theirs = pair.teacher_layers if teacher_layer is None else teacher_layer
    return [
        Match(
            feature=feature,
            teacher_layer=theirs,
            student_layer=pair.student_layers,
            weight=weight,
            relation_heads=split,
        )
        for feature, weight in zip(RELATIONS, weights, strict=True)
        if weight
    ]


def minilm_v1(pair: Pair) -> list[Match]:
    """Attention and value relation of the last layers, with the models' own heads (Wang et al. 2020, 2002.10957, eq.
    5-8)."""
    theirs, ours = pair.teacher_layers, pair.student_layers
    return [
        Match(feature="attention", teacher_layer=theirs, student_layer=ours),
        Match(feature="value_relation", teacher_layer=theirs, student_layer=ours, relation_heads=pair.teacher_heads),
    ]


def hidden(pair: Pair) -> list[Match]:
    """The output of every mapped layer."""
    return [
        Match(feature="hidden", teacher_layer=theirs, student_layer=ours, projection=pair.projection)
        for theirs, ours in pair.mapped
    ]


PRESETS: dict[Preset, Callable[[Pair], list[Match]]] = {
    "tinybert": tinybert,
    "minilm": minilm,
    "minilm_v1": minilm_v1,
    "hidden": hidden,
}


def default_relation_heads(teacher_width: int) -> int:
    """R as in the paper: 48, and 64 for large models."""
    return 64 if teacher_width >= 1024 else 48  # noqa: PLR2004  # the width of the large models


def check(matches: Sequence[Match], pair: Pair) -> None:
    """Compare matches with the two models, as far as their configs tell.

    Raises:
        UserError: every fault, together.
    """
    if not matches:
        raise UserError("no matches: there is nothing to imitate")
    raise_all(list(dict.fromkeys(fault for match in matches for fault in _faults(match, pair))))


def _faults(match: Match, pair: Pair) -> list[str]:
    where = (
        f"the match {match.feature} of the teacher's layer {match.teacher_layer} and the student's "
        f"{match.student_layer}"
    )
    sides = (
        ("teacher", match.teacher_layer, pair.teacher_layers),
        ("student", match.student_layer, pair.student_layers),
    )
    found = [f"{where}: the {name} has {count} layers" for name, layer, count in sides if layer > count]
    found += [fault for name in pair.families if (fault := _family_fault(match, name, pair))]
    if match.feature in OWN_ATTENTION:
        if pair.teacher_heads != pair.student_heads:
            found.append(
                f"{where}: the teacher has {pair.teacher_heads} heads, the student {pair.student_heads}: give the "
                "student as many, or take relations (minilm), which need not"
            )
    if match.feature in STATES and match.projection == "none" and pair.teacher_width != pair.student_width:
        found.append(
            f"{where}: the teacher is {pair.teacher_width} wide, the student {pair.student_width}: give it a projection"
        )
    return found


def _family_fault(match: Match, name: str, pair: Pair) -> str | None:
    """Why a feature can't be had of a family, or means another thing there."""
    family = family_named(name)
    if match.feature not in STATES and family.plan is None:
        return (
            f"{match.feature} of the family '{name}' can't be compared: {family.built_otherwise}; take hidden states "
            "instead (transfer with matches: hidden), or 'distill'"
        )
    if name not in OTHER_TERMS:
        return None
    if match.feature in OWN_ATTENTION:
        return (
            f"{match.feature} of the family '{name}' can't be compared: its scores hold {OTHER_TERMS[name]}; take "
            "relations (minilm) or hidden states instead"
        )
    if match.feature in ("query_relation", "key_relation") and len(pair.families) > 1:
        return (
            f"{match.feature} of the family '{name}' means another thing in the other family: its scores hold "
            f"{OTHER_TERMS[name]}, which are in neither queries nor keys; take the relation of values alone (minilm "
            "with query_weight: 0 and key_weight: 0), or hidden states (transfer with matches: hidden)"
        )
    return None
