"""Models that no Hugging Face config can express: palmtop's own keys in config.json, and classes that build a model by
them.

A folder with such keys is an ordinary Hugging Face folder otherwise, and needs no code of its own: palmtop opens it
with a class made here. Without palmtop it doesn't open (its weights have other sizes than its config's), so it never
answers wrongly.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError
from palmtop.format import called
from palmtop.models.family import family_named, family_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class Change:
    """One way in which a model differs from what its config says."""

    key: str
    """In config.json."""
    apply: "Callable[[PreTrainedModel], None]"
    """Changes a model in place that was just built from a config with this key; weights are loaded afterwards."""
    keep: Callable[[Any, Sequence[int]], Any]
    """(the key's value, layers) -> its value in a model that has only these layers."""


def _read_block_input(model: "PreTrainedModel") -> None:
    from palmtop.models.ib_bert import read_block_input

    read_block_input(model)


def _reshape(model: "PreTrainedModel") -> None:
    from palmtop.models.pruned_layers import reshape  # brings torch

    reshape(model)


def _factorize(model: "PreTrainedModel") -> None:
    from palmtop.models.factorized_embedding import apply

    apply(model)


def _share(model: "PreTrainedModel") -> None:
    from palmtop.models.shared_layers import apply

    apply(model)


def _keep_shared(written: Any, layers: Sequence[int]) -> Any:
    from palmtop.models.shared_layers import keep

    return keep(written, layers)


CHANGES = (
    Change("palmtop_inverted_bottleneck", _read_block_input, lambda written, _: written),
    Change("palmtop_shape", _reshape, lambda written, layers: [written[layer] for layer in layers]),
    Change("palmtop_embedding_size", _factorize, lambda written, _: written),
    Change("palmtop_sharing", _share, _keep_shared),
)
"""In the order in which they are applied."""


def check_own_weights(changes: Sequence[str]) -> None:
    """Raises: UserError: layers that use the same weights by one of these changes, so that one can't be cut without the
    others."""
    if "palmtop_sharing" in changes:
        raise UserError(
            "layers of this model share weights (palmtop_sharing), so one can't be cut without the others: prune "
            "first, and share afterwards"
        )


def with_shape(changes: Sequence[str]) -> tuple[str, ...]:
    """The changes of a model whose layers were cut besides."""
    return tuple(dict.fromkeys((*changes, "palmtop_shape")))


def changed(config: dict[str, Any]) -> list[str]:
    """The keys of CHANGES that a config has."""
    return [change.key for change in CHANGES if config.get(change.key) is not None]


def opener(folder: Path, auto: Any) -> Any:
    """What opens the model in `folder` with `from_pretrained`: transformers' Auto class, or one of ours where the
    config or the family asks for it."""
    from transformers import AutoConfig

    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = family_of(written, str(folder))
    if family.own_class is not None:
        called(family.own_class)()
    if not changed(written) and family.mended_by is None:
        return auto
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return reshaped_class(auto._model_mapping[type(config)])


@cache
def reshaped_class(base: "type[PreTrainedModel]") -> "type[PreTrainedModel]":
    """A class that builds what `base` builds, mends it where its family says how, and then applies the changes its
    config asks for; it goes by the same name.

    `save_pretrained` and `from_pretrained` work as with `base`. A class made here is its own reshaped class.
    """
    if issubclass(base, _Reshaped):
        return base

    def build(self: Any, config: "PreTrainedConfig") -> None:
        base.__init__(self, config)
        if (mended_by := family_named(config.model_type).mended_by) is not None:
            called(mended_by)(self)
        for change in CHANGES:
            if config.to_dict().get(change.key) is not None:
                change.apply(self)

    made: type[PreTrainedModel] = type(base.__name__, (_Reshaped, base), {"__init__": build, "__doc__": base.__doc__})
    return made


def rebuilt(model: "PreTrainedModel", config: "PreTrainedConfig") -> "PreTrainedModel":
    """A new model of the same kind after another config, with random weights."""
    its: Any = type(model)
    ours = changed(config.to_dict()) or family_named(config.model_type).mended_by is not None
    kind = reshaped_class(its) if ours else _plain(its)
    return kind._from_config(copy.deepcopy(config), attn_implementation=model.config._attn_implementation)


def keep_in_config(config: "PreTrainedConfig", layers: Sequence[int]) -> None:
    """Cut what the config says of each layer to these layers, in place."""
    for change in CHANGES:
        written = config.to_dict().get(change.key)
        if written is not None:
            setattr(config, change.key, change.keep(written, layers))


class _Reshaped:
    """Marks the classes made by `reshaped_class`."""


def _plain(kind: "type[PreTrainedModel]") -> "type[PreTrainedModel]":
    """The class of transformers behind one of ours."""
    return kind.__bases__[1] if issubclass(kind, _Reshaped) else kind
