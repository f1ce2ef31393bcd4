"""The families there are, found by their files in palmtop/families, and what their facts say of a config."""

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError, raise_all
from palmtop.families.family import Family, Kind, LayerPlan

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from palmtop.task_kinds.kind import TaskKind


def _found() -> dict[str, Family]:
    """Every family by its model_type; a family is a file beside family.py, and says that it is what its file is
    called."""
    found: dict[str, Family] = {}
    for path in sorted((Path(__file__).parents[1] / "families").glob("*.py")):
        if path.stem not in ("__init__", "family"):
            family: Family = importlib.import_module(f"palmtop.families.{path.stem}").FAMILY
            assert family.model_type.replace("-", "_") == path.stem, f"{path.name} holds {family.model_type}"
            found[family.model_type] = family
    return found


_ALL = _found()

FAMILIES = {name: family for name, family in _ALL.items() if family.kind == "encoder" and family.has_layers}
"""Transformers, by model_type."""

KNOWN = FAMILIES | {name: family for name, family in _ALL.items() if family.own_class is not None}
"""All families that are opened, fine-tuned, exported and measured."""

DECODERS = {name: family for name, family in _ALL.items() if family.kind == "decoder"}
"""Families that write: stages that name decoders in `takes` work on them."""

EVERY_FAMILY = KNOWN | DECODERS

STATIC = EVERY_FAMILY["palmtop-static"]
"""palmtop's own, without layers: token vectors, their mean, a head (palmtop.models.static_model)."""
CONVOLUTION = EVERY_FAMILY["palmtop-convolution"]
"""palmtop's own, which sees each token beside its neighbours (palmtop.models.convolution_model)."""


def family_named(model_type: str | None) -> Family:
    """The family of a model_type.

    Raises:
        UserError: there is none.
    """
    if model_type not in EVERY_FAMILY:
        raise UserError(f"palmtop doesn't know the family '{model_type}'; known: {', '.join(EVERY_FAMILY)}")
    return EVERY_FAMILY[model_type]


def plan_of(model_type: str) -> LayerPlan:
    """What a layer is made of.

    Raises:
        UserError: a family whose layers aren't made of six linear layers.
    """
    family = family_named(model_type)
    if family.plan is None:
        raise UserError(
            f"the layers of the family '{model_type}' can't be taken apart: {family.built_otherwise}; distil it to "
            "fewer layers with 'distill', or quantize it"
        )
    return family.plan


def kind_of(model_type: str | None) -> Kind:
    """What a family is; a model of no family, such as one over word counts, is handled as encoders are."""
    return "encoder" if model_type is None else family_named(model_type).kind


def check_refused(stage: str, model_type: str | None) -> None:
    """Raises: UserError: a stage that doesn't work on this family, with the reason that the family gives."""
    if model_type is not None and (why := family_named(model_type).refuses.get(stage)):
        raise UserError(f"{stage} isn't for the family '{model_type}': {why}")


def check_kept(model_type: str, layers: Sequence[int]) -> None:
    """Raises: UserError: the first of the layers (0-based) that are kept can't be the first."""
    why = family_named(model_type).first_layer
    if why is not None and layers[0] != 0:
        raise UserError(
            f"layers {list(layers)} of a model of the family '{model_type}' can't stand without layer 0, which {why}: "
            "choose layers from 0 on, such as those of choose: spread"
        )


def check_transformer(stage: str, kind: "TaskKind", model_type: str | None) -> None:
    """Raises: UserError: such a transformer has no head for this kind of task."""
    if (transformer := kind_of(model_type)) in kind.transformers:
        return
    shown = kind.name.replace("_", " ")
    raise UserError(
        f"{stage} for {shown}: a model of the family '{model_type}' is "
        + (
            f"a decoder, whose tokens see only those before them: take an encoder, such as bert, for {shown}; what "
            "decoders are for is causal_lm"
            if transformer == "decoder"
            else f"an encoder, whose tokens see those behind them, so it can't write: take a decoder "
            f"({', '.join(DECODERS)})"
        )
    )


def check_padding(kind: "TaskKind", model_type: str | None) -> None:
    """Raises: UserError: the kind's answers would depend on how a text is padded."""
    family = family_named(model_type)
    if kind.head_reads_mask and family.padding_counts:
        raise UserError(
            f"a model of the family '{family.model_type}' {family.padding_counts}, so that a text would have another "
            "vector at each length: take another family, such as bert"
        )


def family_of(config: dict[str, Any], where: str) -> Family:
    """The family of a Hugging Face config.

    Raises:
        UserError: a family that the pipeline doesn't know, or a config that can't be computed as it says.
    """
    model_type = str(config.get("model_type"))
    if model_type not in EVERY_FAMILY:
        raise UserError(
            f"{where} is of the family '{model_type}', which palmtop doesn't know; known: {', '.join(EVERY_FAMILY)}"
        )
    family = EVERY_FAMILY[model_type]
    for word, (value, told) in family.fixed.items():
        if config.get(word, value) != value:
            raise UserError(told.format(where=where, value=config[word]))
    return family


DROPPED: dict[str, tuple[tuple[Any, ...], str]] = {
    "position_embedding_type": (
        (None, "absolute"),
        "transformers 5 reads absolute positions only: its answers would not be the model's own",
    ),
    "pruned_heads": (
        (None, {}, []),
        "transformers 5 no longer cuts heads: adopt the model from before its pruning, and prune that with "
        "'prune_structures'",
    ),
    "quantization_config": (
        (None, {}),
        "a quantized model can't be trained, nor exported: load it in transformers, call dequantize() and "
        "save_pretrained(), or take the float model that it was made of",
    ),
    "add_cross_attention": (
        (None, False),
        "it asks for another model's hidden states: take a model that answers texts by itself",
    ),
    "is_encoder_decoder": (
        (None, False),
        "it is one of two transformers: take a model that answers texts by itself",
    ),
    "return_dict": ((None, True), "palmtop reads answers by name: write true"),
}
"""Words of a config that would be passed over or break what follows, by the values that say nothing."""
CAUSAL = (
    "its tokens would see only those before them, and an encoder's see all others: write false if it was trained so"
)


def check_dropped(config: dict[str, Any], where: str) -> None:
    """Raises: UserError: a config of a known family asks for what transformers no longer computes, or palmtop can't."""
    told = DROPPED | ({"is_decoder": ((None, False), CAUSAL)} if kind_of(config["model_type"]) == "encoder" else {})
    raise_all(
        [
            f"{where} has {word}: {json.dumps(config[word])[:80]} in its config.json, but {why}"
            for word, (plain, why) in told.items()
            if config.get(word) not in plain
        ]
    )


def layer_count(config: dict[str, Any]) -> int:
    """How many layers a config has."""
    return int(config[EVERY_FAMILY[config["model_type"]].layer_count])


def inputs_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The inputs that matter to a model of this config, in the order of its artefacts."""
    family = EVERY_FAMILY[config["model_type"]]
    mask = ("attention_mask",) if family.takes_mask else ()
    types = ("token_type_ids",) if family.token_types and config.get("type_vocab_size", 2) > 1 else ()
    return ("input_ids", *mask, *types)


def longest_input(config: dict[str, Any]) -> int:
    """Most tokens that the model takes: as many as it has positions for, or as its family says."""
    family = EVERY_FAMILY[config["model_type"]]
    if family.longest is not None:
        return family.longest(config)
    assert family.positions is not None  # a family without them says what is the longest
    positions = int(config[family.positions])
    return positions - int(config["pad_token_id"]) - 1 if family.positions_after_pad else positions


def lengths_of(config: dict[str, Any], longest: int) -> tuple[int, ...] | None:
    """The one length that a model of this config is run at, where padding changes its answers; None where any will
    do."""
    return (longest,) if EVERY_FAMILY[config["model_type"]].padding_counts else None


def head_count(config: "PreTrainedConfig") -> int:
    """How many heads each layer has as its family builds it; 1 where there are none."""
    return int(config.num_attention_heads) if family_named(config.model_type).has_heads else 1


def group_of_layers(config: "PreTrainedConfig") -> list[int]:
    """Which group of shared weights each layer of an ALBERT uses."""
    per_group = config.num_hidden_layers / config.num_hidden_groups
    return [int(layer / per_group) for layer in range(config.num_hidden_layers)]


def check_family(model_type: str) -> None:
    """Raises: UserError: a family whose layers can't have shapes of their own."""
    if family_named(model_type).groups is not None:
        raise UserError(
            f"the family '{model_type}' has one set of weights for all its layers, so they can't differ in heads or "
            "feed-forward neurons: prune a model whose layers have weights of their own, such as bert"
        )
