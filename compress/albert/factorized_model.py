"""A trained model with its word embedding in two factors: in ALBERT's class or ELECTRA's, or in its own with its norm
kept."""

import copy
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from palmtop.compress.albert.as_albert import SOURCES, tables, to_albert
from palmtop.compress.albert.table_factors import Factors
from palmtop.models import factorized_embedding
from palmtop.models.family import FAMILIES, family_named
from palmtop.models.reshaped import rebuilt

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel

NARROW_NORM = (*SOURCES, *(name for name, family in FAMILIES.items() if family.narrow_norm))
"""Families of which a class with the norm on the narrow side computes everything else: ALBERT's, and for ELECTRA its
own."""


def build(model: "PreTrainedModel", factors: Factors, form: Literal["albert", "keep_norm"]) -> "PreTrainedModel":
    """The model with the factors in, all else as it was; in the form albert the mapping behind the norm is still
    random."""
    if form == "keep_norm":
        return _kept_norm(model, factors)
    made = (
        to_albert(model, factors.narrow.shape[1])
        if family_named(model.config.model_type).tanh_head
        else _narrow_electra(model, factors)
    )
    embeddings: Module = made.base_model.embeddings
    narrow = {name: table @ torch.from_numpy(factors.wide).T for name, table in tables(model).items()}
    for name, table in ({"word_embeddings": torch.from_numpy(factors.narrow)} | narrow).items():
        _fill(embeddings.get_submodule(name), "weight", table)
    return made


def _kept_norm(model: "PreTrainedModel", factors: Factors) -> "PreTrainedModel":
    config = copy.deepcopy(model.config)
    setattr(config, factorized_embedding.KEY, factors.narrow.shape[1])
    made = rebuilt(model, config).eval()
    _copy_what_fits(model, made)
    words: Any = made.base_model.get_submodule(family_named(model.config.model_type).table)
    _fill(words.table, "weight", torch.from_numpy(factors.narrow))
    _fill(words.widen, "weight", torch.from_numpy(factors.wide).T)
    _fill(words.widen, "bias", torch.from_numpy(factors.mean))
    return made


def _narrow_electra(model: "PreTrainedModel", factors: Factors) -> "PreTrainedModel":
    config = copy.deepcopy(model.config)
    config.embedding_size = factors.narrow.shape[1]
    made = rebuilt(model, config).eval()
    _copy_what_fits(model, made)
    return made


def _copy_what_fits(model: "PreTrainedModel", made: "PreTrainedModel") -> None:
    """Copy every weight that both have in the same size."""
    sizes = {name: weight.shape for name, weight in made.state_dict().items()}
    made.load_state_dict(
        {name: weight for name, weight in model.state_dict().items() if sizes.get(name) == weight.shape}, strict=False
    )


def _fill(module: "Module", name: str, value: Tensor) -> None:
    with torch.no_grad():
        module.get_parameter(name).copy_(value)
