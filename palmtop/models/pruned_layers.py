"""Layers of different shapes: how many heads and feed-forward neurons each layer of a model has, and cutting its
linears to that."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, Parameter

from palmtop.errors import UserError
from palmtop.families.family import Core
from palmtop.models.family import check_family, family_named, head_count, plan_of
from palmtop.models.linears import layers_of, part_of, path_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

KEY = "palmtop_shape"
"""In config.json: for each layer `heads`, the family's heads that stand in it, and `feed_forward`, its neurons."""


@dataclass(frozen=True)
class LayerShape:
    """What stands in a layer."""

    heads: tuple[int, ...]
    """The family's heads that are left, counted from 0 in the full layer, ascending."""
    feed_forward: int
    """Neurons of the feed-forward part."""


class BiasAlone(Linear):
    """What is left of a linear layer that has no inputs: its bias, for every token alike."""

    def __init__(self, bias: Parameter) -> None:
        Module.__init__(self)
        self.in_features, self.out_features = 0, len(bias)
        self.weight, self.bias = Parameter(bias.detach().new_empty(len(bias), 0)), bias

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's own name
        """[..., 0 or more] -> [width], which a residual is added to; [..., width] in training, where dropout must
        differ by token."""
        return self.bias.expand(*input.shape[:-1], -1) if self.training else self.bias


class NoHeads(Module):
    """An attention that has no heads left: it hands on its input, of which the output layer reads nothing."""

    def __init__(self, core: Module, output: str | None) -> None:
        super().__init__()
        for name, part in core.named_children():
            self.add_module(name, part)
        self._output = output

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
        """The context and no attentions; whatever else the family hands in is not needed."""
        return hidden if self._output is None else self.get_submodule(self._output)(hidden), None


class BiasOfHeads:
    """Picks, of MPNet's position biases that all layers share, those of the heads that a layer has; a hook before its
    attention."""

    def __init__(self, heads: Sequence[int]) -> None:
        self.heads = tuple(heads)

    def __call__(self, module: Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        """(hidden, mask, bias [batch, all heads, tokens, tokens]) -> the same with the bias of these heads."""
        hidden, mask, bias, *rest = given
        return (hidden, mask, torch.cat([bias[:, head : head + 1] for head in self.heads], dim=1), *rest)


def head_size(config: "PreTrainedConfig") -> int:
    """Rows of queries, keys and values that are one head's."""
    family = family_named(config.model_type)
    if family.head_size is not None and (said := config.to_dict().get(family.head_size)):
        return int(said)
    return int(getattr(config, family.inner_width) // head_count(config))


def shapes_of(model: "PreTrainedModel") -> list[LayerShape]:
    """The shape of every layer of a model, as it stands."""
    written = model.config.to_dict().get(KEY)
    if written is not None:
        return read_shapes(written)
    everything = tuple(range(model.config.num_attention_heads))
    kind = model.config.model_type
    return [LayerShape(everything, part_of(layer, "feed_forward_in", kind).out_features) for layer in layers_of(model)]


def read_shapes(written: Iterable[dict[str, Any]]) -> list[LayerShape]:
    """Shapes as config.json has them."""
    return [LayerShape(tuple(layer["heads"]), layer["feed_forward"]) for layer in written]


def write_shapes(shapes: Iterable[LayerShape]) -> list[dict[str, Any]]:
    """Shapes for config.json."""
    return [{"heads": list(shape.heads), "feed_forward": shape.feed_forward} for shape in shapes]


def reshape(model: "PreTrainedModel") -> None:
    """Cut a model that was just built in its config's full widths to the shapes of its config; its weights are still
    nobody's.

    Raises:
        UserError: shapes that aren't this model's, or a family whose layers can't differ.
    """
    check_family(model.config.model_type)
    layers, shapes = layers_of(model), shapes_of(model)
    _check(model, shapes)
    for layer, shape in zip(layers, shapes, strict=True):
        cut(layer, model.config, range(len(shape.heads)), range(shape.feed_forward))
        outside = family_named(model.config.model_type).heads_counted_outside
        if outside and 0 < len(shape.heads) < model.config.num_attention_heads:
            layer.get_submodule(core_path(model.config.model_type)).register_forward_pre_hook(BiasOfHeads(shape.heads))


def cut(layer: Module, config: "PreTrainedConfig", heads: Sequence[int], neurons: Sequence[int]) -> None:
    """Keep some of the heads and feed-forward neurons that a layer has, counted from 0 among them; the rest is gone,
    biases not folded."""
    kind, size = config.model_type, head_size(config)
    rows = [row for head in heads for row in range(head * size, (head + 1) * size)]
    its = plan_of(kind).core
    core = layer.get_submodule(its.path)
    for part in (
        *(part_of(layer, name, kind) for name in ("query", "key", "value")),
        *(
            part
            for name, part in core.named_children()
            if name in its.position_projections and isinstance(part, Linear)
        ),
    ):
        _keep_rows(part, rows)
    _keep_columns(layer, path_of("attention_output", kind), rows)
    _keep_rows(part_of(layer, "feed_forward_in", kind), neurons)
    _keep_columns(layer, path_of("feed_forward_out", kind), neurons)
    if heads:
        _count_heads(core, its, len(heads), len(rows))
    elif not isinstance(core, NoHeads):
        _put(layer, its.path, NoHeads(core, its.output))


def core_path(model_type: str) -> str:
    """Where the attention itself lies below its layer, in dots."""
    return plan_of(model_type).core.path


def _check(model: "PreTrainedModel", shapes: list[LayerShape]) -> None:
    heads, layers = model.config.num_attention_heads, layers_of(model)
    if len(shapes) != len(layers):
        raise UserError(
            f"config.json has {KEY} for {len(shapes)} layers, but {len(layers)} layers: the folder is damaged; make "
            "it again"
        )
    for number, (layer, shape) in enumerate(zip(layers, shapes, strict=True)):
        widest = part_of(layer, "feed_forward_in", model.config.model_type).out_features
        if (
            list(shape.heads) != sorted({head for head in shape.heads if 0 <= head < heads})
            or not 0 <= shape.feed_forward <= widest
        ):
            raise UserError(
                f"config.json has {KEY} with heads {list(shape.heads)} and {shape.feed_forward} neurons for layer "
                f"{number}, which has {heads} heads and {widest} neurons at most: the folder is damaged; make it again"
            )


def _keep_rows(linear: Linear, rows: Sequence[int]) -> None:
    linear.weight, linear.out_features = _picked(linear.weight, rows, 0), len(rows)
    linear.bias = _picked(linear.bias, rows, 0)


def _keep_columns(layer: Module, path: str, columns: Sequence[int]) -> None:
    linear = layer.get_submodule(path)
    assert isinstance(linear, Linear)
    linear.weight, linear.in_features = _picked(linear.weight, columns, 1), len(columns)
    if not columns and not isinstance(linear, BiasAlone):
        _put(layer, path, BiasAlone(linear.bias))


def _picked(weight: Tensor, places: Sequence[int], axis: int) -> Parameter:
    chosen = torch.tensor(list(places), dtype=torch.int64, device=weight.device)
    return Parameter(weight.detach().index_select(axis, chosen).contiguous(), weight.requires_grad)


def _count_heads(core: Module, its: Core, heads: int, rows: int) -> None:
    setattr(core, its.heads, heads)
    if its.rows is not None:
        setattr(core, its.rows, rows)


def _put(layer: Module, path: str, new: Module) -> None:
    above, _, name = path.rpartition(".")
    setattr(layer.get_submodule(above), name, new)
