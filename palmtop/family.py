"""Families: one view on the transformers that go the whole way: their layers, inputs, masks and lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Family:
    """What differs between families. `model_type` is the word in config.json."""

    model_type: str
    layers: str | None
    """Prefix of layer i's weights in a classifier, before '.<i>.'; None where all layers share one set (ALBERT)."""
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


FAMILIES = {family.model_type: family for family in (
    Family("albert", None),
    Family("bert", "bert.encoder.layer"),
    Family("deberta-v2", "deberta.encoder.layer", takes_additive_mask=False),
    Family("distilbert", "distilbert.transformer.layer", layer_count="n_layers", token_types=False,
           new_head=("classifier", "pre_classifier")),
    Family("electra", "electra.encoder.layer"),
    Family("mobilebert", "mobilebert.encoder.layer", shortest=4),
    Family("mpnet", "mpnet.encoder.layer", token_types=False, positions_after_pad=True),
    Family("roberta", "roberta.encoder.layer", positions_after_pad=True),
    Family("xlm-roberta", "roberta.encoder.layer", positions_after_pad=True),
)}


def family_of(config: dict[str, Any], where: str) -> Family:
    """The family of a Hugging Face config.

    Raises:
        UserError: a family that the pipeline doesn't know.
    """
    model_type = str(config.get("model_type"))
    if model_type not in FAMILIES:
        raise UserError(f"{where} is of the family '{model_type}', which palmtop doesn't know; known: {', '.join(FAMILIES)}")
    family = FAMILIES[model_type]
    if family.layers is None and config.get("num_hidden_groups", 1) != 1:
        raise UserError(f"{where} has {config['num_hidden_groups']} groups of shared layers; palmtop knows ALBERT with one group only")
    if model_type == "mpnet" and config.get("relative_attention_num_buckets", 32) != 32:  # noqa: PLR2004  # the number transformers hard-codes
        raise UserError(f"{where} has relative_attention_num_buckets {config['relative_attention_num_buckets']}, which transformers "
                        "ignores (it computes with 32): its answers would not be the model's own")
    return family


def layer_count(config: dict[str, Any]) -> int:
    """How many layers a config has."""
    return int(config[FAMILIES[config["model_type"]].layer_count])


def inputs_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The inputs that matter to a model of this config, in the order of its artefacts."""
    types = FAMILIES[config["model_type"]].token_types and config.get("type_vocab_size", 2) > 1
    return ("input_ids", "attention_mask", "token_type_ids") if types else ("input_ids", "attention_mask")


def longest_input(config: dict[str, Any]) -> int:
    """Most tokens that the model has positions for."""
    positions = int(config["max_position_embeddings"])
    return positions - int(config["pad_token_id"]) - 1 if FAMILIES[config["model_type"]].positions_after_pad else positions


def open_classifier(folder: Path, attention: str = "eager") -> "PreTrainedModel":
    """The sequence classifier in a Hugging Face folder, float32, in eval mode; only safetensors, nothing from the network.

    Eager attention by default: it is the path that exports, and the only one that is right on padded inputs everywhere.
    """
    from transformers import AutoModelForSequenceClassification, logging

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, attn_implementation=attention, dtype="float32", local_files_only=True, use_safetensors=True)
    return model.eval()


def keep_layers(model: "PreTrainedModel", layers: Sequence[int]) -> "PreTrainedModel":
    """A new model of the same family with only these layers (0-based, ascending), every weight copied.

    With all layers it computes the same function: logits are equal bit for bit.
    """
    import copy

    family = FAMILIES[model.config.model_type]
    config = copy.deepcopy(model.config)
    setattr(config, family.layer_count, len(layers))
    smaller = type(model)._from_config(config, attn_implementation=model.config._attn_implementation)
    smaller.load_state_dict(_chosen(model.state_dict(), family, layers))
    return smaller


def _chosen(state: dict[str, Any], family: Family, layers: Sequence[int]) -> dict[str, Any]:
    if family.layers is None:
        return state
    prefix, place = family.layers + ".", {layer: position for position, layer in enumerate(layers)}
    chosen = {}
    for name, weight in state.items():
        if not name.startswith(prefix):
            chosen[name] = weight
            continue
        layer, rest = name.removeprefix(prefix).split(".", 1)
        if int(layer) in place:
            chosen[f"{prefix}{place[int(layer)]}.{rest}"] = weight
    return chosen
