"""What a student of another family starts from: those of its teacher's weights that mean the same in both, wherever
their sizes allow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import Embedding

from palmtop.compress.albert.table_factors import Decomposition, Factors
from palmtop.compress.learning.layer_choice import spread_layers
from palmtop.compress.other_family.bodies import Body
from palmtop.models.family import family_named, head_count
from palmtop.models.layer_weights import places_in_layer
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from torch.nn import Linear, Module
    from transformers import PreTrainedModel

Counts = dict[str, int]
"""Numbers taken, by the name of the student's weight."""
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("query", "key"),
    ("value", "attention_output"),
    ("feed_forward_in", "feed_forward_out"),
    ("attention_norm",),
    ("feed_forward_norm",),
)
"""Parts of a layer of which one means nothing without the others."""
NORM, POSITIONS, TYPES = "embeddings.LayerNorm", "embeddings.position_embeddings", "embeddings.token_type_embeddings"
TABLES = ("position_embeddings", POSITIONS)
"""Where a family has its table of positions, below the transformer."""


class Taking:
    """A teacher and a student with random weights; what is taken is counted."""

    def __init__(self, student: "PreTrainedModel", teacher: "PreTrainedModel", body: Body) -> None:
        self._student, self._teacher, self._body = student, teacher, body
        self._ours, self._theirs = family_named(body.family), family_named(teacher.config.model_type)
        self._names = {id(weight): name for name, weight in student.named_parameters()}
        self.counts: Counts = {}
        self._width = 0

    @torch.no_grad()
    def all(self, sources: Sequence[tuple[int, ...]] | None) -> Counts:
        """Take whatever can be.

        Args:
            sources: for each of the student's tokens the teacher's that it is made of; None: the same tokens.
        """
        self._embeddings(sources)
        self._layers()
        self._head()
        return self.counts

    def _copy(self, into: Tensor, values: Tensor) -> None:
        """Copy values into a weight of the student, or into its first rows, and count them."""
        into[: len(values)].copy_(values)
        name = self._names[id(into)]
        self.counts[name] = self.counts.get(name, 0) + values.numel()

    def _embeddings(self, sources: Sequence[tuple[int, ...]] | None) -> None:
        body: Any = self._student.base_model
        table = body.get_submodule(self._ours.table).weight
        wide = wide_table(self._teacher)
        self._width = wide.shape[1]
        factors = _factors(wide, table.shape[1])
        if wide.shape[1] < table.shape[1]:
            return  # nothing tells how narrow vectors lie in wider ones
        self._rows(table, _narrow(wide, factors, centred=True), sources)
        if self._ours.bottlenecks:
            return  # its positions lie behind the trigram layer, in a space of their own
        self._positions(factors)
        self._norm(factors)
        self._widening(factors)

    def _rows(
        self,
        table: Tensor,
        rows: Float[Tensor, "tokens width"],
        sources: Sequence[tuple[int, ...]] | None,
    ) -> None:
        if sources is None:
            self._copy(table, rows[: len(table)])
        else:
            known = [number for number, source in enumerate(sources) if source]
            table[known] = torch.stack([rows[list(sources[number])].mean(0) for number in known])
            self.counts[self._names[id(table)]] = len(known) * table.shape[1]
        if self._ours.bottlenecks:
            table[self._student.config.pad_token_id] = 0  # or padding would leak into the last token's trigram

    def _positions(self, factors: Factors | None) -> None:
        """Rows of positions and token types; the vector of type 0 goes to the positions where a student has no
        types."""
        ours, theirs = (dict(model.base_model.named_modules()) for model in (self._student, self._teacher))
        types = theirs.get(TYPES) if self._theirs.token_types else None
        kinds = self._wide_rows(types, 0)
        found = self._wide_rows(next((theirs[name] for name in TABLES if name in theirs), None), self._unused)
        if found is not None:
            into = ours[POSITIONS].get_parameter("weight")
            rows = _narrow(found[: len(into)], factors)
            hidden = kinds is not None and TYPES not in ours
            self._copy(into, rows + _narrow(kinds[:1], factors) if kinds is not None and hidden else rows)
        if kinds is not None and TYPES in ours:
            into = ours[TYPES].get_parameter("weight")
            self._copy(into, _narrow(kinds[: len(into)], factors))

    @property
    def _unused(self) -> int:
        """Rows of the teacher's positions before the first that a text uses."""
        return int(self._teacher.config.pad_token_id) + 1 if self._theirs.positions_after_pad else 0

    def _wide_rows(self, table: "Module | None", first: int) -> Float[Tensor, "rows width"] | None:
        """The rows of one of the teacher's tables, from one on, as wide as those of its tokens; None where there is no
        such table, or it can't be widened."""
        if not isinstance(table, Embedding):
            return None
        rows: Tensor = table.weight[first:]
        widened = widening(self._teacher)
        if widened is not None and rows.shape[1] == widened.weight.shape[1]:
            rows = rows @ widened.weight.T  # its bias is in the tokens' rows
        return rows.float() if rows.shape[1] == self._width else None

    def _norm(self, factors: Factors | None) -> None:
        """The norm behind the embeddings, where its coordinates are the teacher's."""
        theirs = dict(self._teacher.base_model.named_modules()).get(NORM)
        if factors is None and theirs is not None:
            self._module(self._student.base_model.get_submodule(NORM), theirs)

    def _widening(self, factors: Factors | None) -> None:
        """What stands behind the embeddings: the way back to the teacher's width where they are narrower, or else
        nothing that changes them."""
        assert self._ours.new_body is not None  # whoever makes a student has looked
        path = self._ours.new_body.behind_embeddings or self._ours.widened_by
        if path is None:
            return
        linear: Any = self._student.base_model.get_submodule(path)
        rows, columns = linear.weight.shape
        if rows == columns:
            self._copy(linear.weight, torch.eye(rows))
            self._copy(linear.bias, torch.zeros(rows))
        elif factors is not None and rows == factors.wide.shape[1]:
            self._copy(linear.weight, torch.from_numpy(factors.wide.T.copy()))
            self._copy(linear.bias, torch.from_numpy(factors.mean))

    def _layers(self) -> None:
        if self._ours.bottlenecks or self._theirs.bottlenecks:
            return  # inside a bottleneck is another space
        theirs = layers_of(self._teacher)
        ours = list(dict.fromkeys(layers_of(self._student)))
        starts = source_layers(len(theirs), len(ours), self._ours.groups is not None)
        for layer, source in zip(ours, starts, strict=True):
            self._layer(layer, theirs[source])

    def _layer(self, layer: "Module", source: "Module") -> None:
        there = places_in_layer(self._theirs.model_type)
        here = places_in_layer(self._ours.model_type)
        for parts in TOGETHER:
            if not all(part in there and part in here for part in parts) or not self._means_the_same(parts):
                continue
            pairs = [(layer.get_submodule(here[part]), source.get_submodule(there[part])) for part in parts]
            if all(_fits(*pair) for pair in pairs):
                for pair in pairs:
                    self._module(*pair)

    def _means_the_same(self, parts: Sequence[str]) -> bool:
        """Whether parts of the attention are cut into as many heads, and queries and keys meet as plainly."""
        if "value" not in parts and "query" not in parts:
            return True
        equal = head_count(self._teacher.config) == head_count(self._student.config)
        return equal and ("query" not in parts or self._theirs.score_terms is None)

    def _head(self) -> None:
        """The layers of a head that reads what its teacher's reads, in the same way."""
        theirs = dict(self._teacher.named_modules())
        ours = dict(self._student.named_modules())
        pairs = [
            (ours[here], theirs[there])
            for here, there in head_layers(self._body, self._teacher)
            if here in ours and there in theirs
        ]
        if pairs and all(_fits(*pair) for pair in pairs):
            for pair in pairs:
                self._module(*pair)

    def _module(self, into: "Module", source: "Module") -> None:
        if not _fits(into, source):
            return
        for name, weight in into.named_parameters():
            self._copy(weight, source.get_parameter(name))


def wide_table(model: "PreTrainedModel") -> Float[Tensor, "tokens width"]:
    """A row for each token, as wide as what a model makes of it before positions are added: behind the linear layer
    that widens narrow ones, without its norm."""
    family, body = family_named(model.config.model_type), model.base_model
    table: Any = body.get_submodule(family.table)
    rows: Tensor = table(torch.arange(model.config.vocab_size)).detach()
    widened = widening(model)
    return (rows if widened is None else widened(rows).detach()).float()


def widening(model: "PreTrainedModel") -> "Linear | None":
    """The linear layer behind embeddings that are narrower than the model, where there is one."""
    path = family_named(model.config.model_type).widened_by
    found: Linear | None = dict(model.base_model.named_modules()).get(path) if path is not None else None
    return found


def source_layers(theirs: int, ours: int, shared: bool) -> list[int]:
    """The teacher's layer (0-based) that each of the student's sets of weights starts from: spread from first to last,
    repeated where the student has more; where layers share a set, the middle one of those that it stands for."""
    if not shared:
        return spread_layers(theirs, ours)
    return [int((number + 0.5) * theirs / ours) for number in range(ours)]


def head_layers(body: Body, teacher: "PreTrainedModel") -> list[tuple[str, str]]:
    """Those of the student's head and the teacher's that do the same: what gives the logits of a token, or behind a
    tanh those of a text."""
    ours, theirs = (_tanh_head(name) for name in (body.family, teacher.config.model_type))
    if type(teacher).__name__.endswith("ForTokenClassification"):
        return [("classifier", "classifier")]
    if ours is None or theirs is None:
        return []
    return list(zip(ours, theirs, strict=True))


def _tanh_head(model_type: str) -> tuple[str, str] | None:
    family = family_named(model_type)
    return family.tanh_head or (family.new_body.tanh_head if family.new_body is not None else None)


def _factors(wide: Float[Tensor, "tokens width"], size: int) -> Factors | None:
    """The principal components that a narrower table keeps; None where it is as wide, or wider."""
    if size >= wide.shape[1]:
        return None
    return Decomposition(wide.numpy(), np.ones(len(wide))).factors(size)


def _narrow(rows: Tensor, factors: Factors | None, centred: bool = False) -> Tensor:
    if factors is None:
        return rows
    middle = torch.from_numpy(factors.mean) if centred else 0.0
    narrow: Tensor = (rows - middle) @ torch.from_numpy(factors.wide).T
    return narrow


def _fits(into: "Module", source: "Module") -> bool:
    """Whether two modules have the same weights, in the same sizes."""
    ours, theirs = ({name: weight.shape for name, weight in module.named_parameters()} for module in (into, source))
    return ours == theirs
