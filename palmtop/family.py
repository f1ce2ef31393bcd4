"""Families: one view on the transformers that go the whole way: their layers, inputs, masks and lengths."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from palmtop.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel
    from transformers.utils import ModelOutput


Kind = Literal["encoder", "decoder"]
"""Whether a token sees all others, or only those before it."""


@dataclass(frozen=True)
class Family:
    """What differs between families. `model_type` is the word in config.json."""

    model_type: str
    layers: str | None
    """Prefix of layer i's weights in a classifier, before '.<i>.'; None where layers share weights in groups (ALBERT)."""
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
    """Whether a .tflite of it can be made for texts of any length (palmtop.export.tflite_any_length)."""


SPAN_HEAD = ("qa_outputs",)
"""The module that a task of question answering trains anew, in every family."""

FAMILIES = {family.model_type: family for family in (
    Family("albert", None),
    Family("bert", "bert.encoder.layer"),
    Family("deberta-v2", "deberta.encoder.layer", takes_additive_mask=False, any_length=False),
    Family("distilbert", "distilbert.transformer.layer", layer_count="n_layers", token_types=False,
           new_head=("classifier", "pre_classifier")),
    Family("electra", "electra.encoder.layer"),
    Family("mobilebert", "mobilebert.encoder.layer", shortest=4),
    Family("mpnet", "mpnet.encoder.layer", token_types=False, positions_after_pad=True),
    Family("roberta", "roberta.encoder.layer", positions_after_pad=True),
    Family("xlm-roberta", "roberta.encoder.layer", positions_after_pad=True),
)}

"""Transformers, by model_type."""

STATIC = Family("palmtop-static", None, token_types=False, takes_additive_mask=False, new_head=("dense", "classifier"))
"""palmtop's own, without layers: token vectors, their mean, a head (palmtop.static_model)."""

KNOWN = FAMILIES | {STATIC.model_type: STATIC}
"""All families that are opened, fine-tuned, exported and measured."""

DECODERS = {family.model_type: family for family in (
    Family("gpt2", "transformer.h", layer_count="n_layer", token_types=False, positions="n_positions", kind="decoder"),
)}
"""Families that are distilled as language models only (stages that name decoders in `takes`)."""

_EVERY = KNOWN | DECODERS


def kind_of(model_type: str | None) -> Kind:
    """What a family is; encoders where it isn't known."""
    return _EVERY[model_type].kind if model_type in _EVERY else "encoder"


def family_of(config: dict[str, Any], where: str) -> Family:
    """The family of a Hugging Face config.

    Raises:
        UserError: a family that the pipeline doesn't know.
    """
    model_type = str(config.get("model_type"))
    if model_type not in _EVERY:
        raise UserError(f"{where} is of the family '{model_type}', which palmtop doesn't know; known: {', '.join(_EVERY)}")
    family = _EVERY[model_type]
    if config.get("inner_group_num", 1) != 1:
        raise UserError(f"{where} has {config['inner_group_num']} layers inside each group of shared layers; palmtop knows ALBERT with one "
                        "only (inner_group_num: 1)")
    if model_type == "mpnet" and config.get("relative_attention_num_buckets", 32) != 32:  # noqa: PLR2004  # the number transformers hard-codes
        raise UserError(f"{where} has relative_attention_num_buckets {config['relative_attention_num_buckets']}, which transformers "
                        "ignores (it computes with 32): its answers would not be the model's own")
    return family


def layer_count(config: dict[str, Any]) -> int:
    """How many layers a config has."""
    return int(config[_EVERY[config["model_type"]].layer_count])


def inputs_of(config: dict[str, Any]) -> tuple[str, ...]:
    """The inputs that matter to a model of this config, in the order of its artefacts."""
    types = _EVERY[config["model_type"]].token_types and config.get("type_vocab_size", 2) > 1
    return ("input_ids", "attention_mask", "token_type_ids") if types else ("input_ids", "attention_mask")


def longest_input(config: dict[str, Any]) -> int:
    """Most tokens that the model has positions for."""
    family = _EVERY[config["model_type"]]
    positions = int(config[family.positions])
    return positions - int(config["pad_token_id"]) - 1 if family.positions_after_pad else positions


def open_classifier(folder: Path, attention: str = "eager") -> "PreTrainedModel":
    """The sequence classifier in a Hugging Face folder, float32, in eval mode; only safetensors, nothing from the network.

    Eager attention by default: it is the path that exports, and the only one that is right on padded inputs everywhere.
    """
    from transformers import AutoModelForSequenceClassification

    return _opened(folder, AutoModelForSequenceClassification, attention)


def answers_spans(config: "dict[str, Any]") -> bool:
    """Whether a Hugging Face config is of a model whose head gives start and end logits."""
    return any("ForQuestionAnswering" in name for name in config.get("architectures") or ())


def open_with_head(folder: Path) -> "PreTrainedModel":
    """As `open_classifier`, with the head that the folder's config names: a classifier's, or one of question answering."""
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    spans = answers_spans(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    return _opened(folder, AutoModelForQuestionAnswering if spans else AutoModelForSequenceClassification, "eager")


def outputs_of(answer: "ModelOutput") -> "Tensor":
    """What a head answers: logits [batch, outputs], or start and end logits [batch, 2, tokens]."""
    import torch

    if "start_logits" in answer:
        return torch.stack([answer.start_logits, answer.end_logits], dim=1)
    logits: Tensor = answer.logits
    return logits


def keep_layers(model: "PreTrainedModel", layers: Sequence[int]) -> "PreTrainedModel":
    """A new model of the same family with only these layers (0-based, ascending), every weight copied.

    With all layers it computes the same function: logits are equal bit for bit.

    Raises:
        UserError: the model has no layers.
    """
    import copy

    from palmtop.reshaped import keep_in_config, rebuilt

    if model.config.model_type == STATIC.model_type:
        raise UserError(f"a model of the family '{STATIC.model_type}' has no transformer layers to keep some of: name a transformer")
    family = _EVERY[model.config.model_type]
    config = copy.deepcopy(model.config)
    setattr(config, family.layer_count, len(layers))
    keep_in_config(config, layers)
    groups = group_of_layers(model.config) if family.layers is None else []
    if groups:
        config.num_hidden_groups = len({groups[layer] for layer in layers})
        _check_kept_groups(config, [groups[layer] for layer in layers], layers)
    smaller = rebuilt(model, config)
    smaller.load_state_dict(_chosen(model.state_dict(), family, [groups[layer] for layer in layers] if groups else layers))
    return smaller


def _opened(folder: Path, auto: Any, attention: str) -> "PreTrainedModel":
    from transformers import logging

    from palmtop.reshaped import opener

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    model: PreTrainedModel = opener(folder, auto).from_pretrained(
        folder, attn_implementation=attention, dtype="float32", local_files_only=True, use_safetensors=True)
    return model.eval()


def group_of_layers(config: "PreTrainedConfig") -> list[int]:
    """Which group of shared weights each layer of an ALBERT uses."""
    per_group = config.num_hidden_layers / config.num_hidden_groups
    return [int(layer / per_group) for layer in range(config.num_hidden_layers)]


def _check_kept_groups(config: "PreTrainedConfig", groups: Sequence[int], layers: Sequence[int]) -> None:
    """Raises: UserError: ALBERT's class, which shares out layers among groups evenly, can't have these layers' groups."""
    known = sorted(set(groups))
    if group_of_layers(config) != [known.index(group) for group in groups]:
        raise UserError(f"layers {list(layers)} are of the groups {list(groups)} of shared weights, which an ALBERT of {len(groups)} "
                        "layers can't have: choose as many layers of each group")


def _chosen(state: dict[str, Any], family: Family, layers: Sequence[int]) -> dict[str, Any]:
    """The weights of some layers (of some groups, where layers share them), under their new numbers, and all others."""
    prefix = (family.layers or "albert.encoder.albert_layer_groups") + "."
    place = {layer: position for position, layer in enumerate(dict.fromkeys(layers))}
    chosen = {}
    for name, weight in state.items():
        if not name.startswith(prefix):
            chosen[name] = weight
            continue
        layer, rest = name.removeprefix(prefix).split(".", 1)
        if int(layer) in place:
            chosen[f"{prefix}{place[int(layer)]}.{rest}"] = weight
    return chosen
