"""Families: one view on the transformers that go the whole way: their layers, inputs, masks and lengths."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from palmtop.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


Kind = Literal["encoder", "decoder"]
"""Whether a token sees all others, or only those before it."""


@dataclass(frozen=True)
class Family:
    """What differs between families. `model_type` is the word in config.json."""

    model_type: str
    layers: str | None
    """Prefix of layer i's weights in a classifier, before '.<i>.'; None where layers share weights in groups
    (ALBERT)."""
    layer_count: str = "num_hidden_layers"
    """The config's word for the number of layers."""
    token_types: bool = True
    """Whether it takes token_type_ids (where its config has more than one type)."""
    positions_after_pad: bool = False
    """Whether positions are counted from pad_token_id + 1 on (RoBERTa's way), so that fewer of them are usable."""
    takes_additive_mask: bool = True
    """Whether an additive 4-D mask goes through to the scores; otherwise it gets the plain 2-D mask."""
    shortest: int = 2
    """Fewest tokens that a graph of any length can be traced for."""
    new_head: tuple[str, ...] = ("classifier",)
    """Modules that a task trains anew, on their own learning rate."""
    positions: str = "max_position_embeddings"
    """The config's word for the number of positions."""
    kind: "Kind" = "encoder"
    any_length: bool = True
    """Whether a .tflite of it can be made for texts of any length (palmtop.export.tflite_file.any_length)."""


FAMILIES = {
    family.model_type: family
    for family in (
        Family("albert", None),
        Family("bert", "bert.encoder.layer"),
        Family("deberta-v2", "deberta.encoder.layer", takes_additive_mask=False, any_length=False),
        Family(
            "distilbert",
            "distilbert.transformer.layer",
            layer_count="n_layers",
            token_types=False,
            new_head=("classifier", "pre_classifier"),
        ),
        Family("electra", "electra.encoder.layer"),
        Family("mobilebert", "mobilebert.encoder.layer", shortest=4),
        Family("mpnet", "mpnet.encoder.layer", token_types=False, positions_after_pad=True),
        Family("roberta", "roberta.encoder.layer", positions_after_pad=True),
        Family("xlm-roberta", "roberta.encoder.layer", positions_after_pad=True),
    )
}

"""Transformers, by model_type."""

STATIC = Family("palmtop-static", None, token_types=False, takes_additive_mask=False, new_head=("dense", "classifier"))
"""palmtop's own, without layers: token vectors, their mean, a head (palmtop.models.static_model)."""

KNOWN = FAMILIES | {STATIC.model_type: STATIC}
"""All families that are opened, fine-tuned, exported and measured."""

DECODERS = {
    family.model_type: family
    for family in (
        Family(
            "gpt2", "transformer.h", layer_count="n_layer", token_types=False, positions="n_positions", kind="decoder"
        ),
    )
}
"""Families that are distilled as language models only (stages that name decoders in `takes`)."""

EVERY_FAMILY = KNOWN | DECODERS


def kind_of(model_type: str | None) -> Kind:
    """What a family is; encoders where it isn't known."""
    return EVERY_FAMILY[model_type].kind if model_type in EVERY_FAMILY else "encoder"


def family_of(config: dict[str, Any], where: str) -> Family:
    """The family of a Hugging Face config.

    Raises:
        UserError: a family that the pipeline doesn't know.
    """
    model_type = str(config.get("model_type"))
    if model_type not in EVERY_FAMILY:
        raise UserError(
            f"{where} is of the family '{model_type}', which palmtop doesn't know; known: {', '.join(EVERY_FAMILY)}"
        )
    family = EVERY_FAMILY[model_type]
    if config.get("inner_group_num", 1) != 1:
        raise UserError(
            f"{where} has {config['inner_group_num']} layers inside each group of shared layers; palmtop knows ALBERT "
            "with one only (inner_group_num: 1)"
        )
    if model_type == "mpnet" and config.get("relative_attention_num_buckets", 32) != 32:  # noqa: PLR2004  # the number transformers hard-codes
        raise UserError(
            f"{where} has relative_attention_num_buckets {config['relative_attention_num_buckets']}, which "
            "transformers ignores (it computes with 32): its answers would not be the model's own"
        )
    return family


def layer_count(config: dict[str, Any]) -> int:
    """How many layers a config has."""
    return int(config[EVERY_FAMILY[config["model_type"]].layer_count])


def inputs_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The inputs that matter to a model of this config, in the order of its artefacts."""
    types = EVERY_FAMILY[config["model_type"]].token_types and config.get("type_vocab_size", 2) > 1
    return ("input_ids", "attention_mask", "token_type_ids") if types else ("input_ids", "attention_mask")


def longest_input(config: dict[str, Any]) -> int:
    """Most tokens that the model has positions for."""
    family = EVERY_FAMILY[config["model_type"]]
    positions = int(config[family.positions])
    return positions - int(config["pad_token_id"]) - 1 if family.positions_after_pad else positions


def group_of_layers(config: "PreTrainedConfig") -> list[int]:
    """Which group of shared weights each layer of an ALBERT uses."""
    per_group = config.num_hidden_layers / config.num_hidden_groups
    return [int(layer / per_group) for layer in range(config.num_hidden_layers)]


def check_family(model_type: str) -> None:
    """Raises: UserError: a family whose layers can't have shapes of their own."""
    if FAMILIES[model_type].layers is None:
        raise UserError(
            f"the family '{model_type}' has one set of weights for all its layers, so they can't differ in heads or "
            "feed-forward neurons: prune a model whose layers have weights of their own, such as bert"
        )
