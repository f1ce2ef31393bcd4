"""A trained model in ALBERT's class: layers, pooler and head as they were, each layer a group of its own."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from palmtop.models.family import FAMILIES, family_named
from palmtop.models.layer_weights import HALVES, read_layer, write_half
from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from torch.nn import Linear, Module
    from transformers import AlbertConfig, AlbertForSequenceClassification, PreTrainedModel

SOURCES = tuple(name for name, family in FAMILIES.items() if family.tanh_head)
"""Families whose layers, positions and head ALBERT's class computes too."""
REASONS = {name: family.no_albert for name, family in FAMILIES.items() if family.no_albert}
"""Why the others are not among them."""


def to_albert(model: "PreTrainedModel", embedding_size: int) -> "AlbertForSequenceClassification":
    """The same layers and head in ALBERT's class, with dropout 0, in eval mode.

    Where `embedding_size` is the model's width, the embeddings are the model's too, the mapping behind them is the
    identity, and the answers are equal. Otherwise the embeddings, their norm and the mapping are random: they are the
    caller's to fill.

    Dropout is 0 as in ALBERT's second version: a model that shares its weights has less to overfit with, and a teacher
    answers without.
    """
    from transformers import AlbertForSequenceClassification

    made = AlbertForSequenceClassification._from_config(
        _config(model.config, embedding_size), attn_implementation=model.config._attn_implementation
    )
    for old, new in zip(layers_of(model), layers_of(made), strict=True):
        weights = read_layer(old, model.config.model_type)
        for half in HALVES:
            write_half(new, half, "albert", weights)
    dense, output = _head(model)
    made.albert.pooler.load_state_dict(dense.state_dict())
    made.classifier.load_state_dict(output.state_dict())
    if embedding_size == model.config.hidden_size:
        _copy_embeddings(model, made)
    return made.eval()


def tables(model: "PreTrainedModel") -> dict[str, Tensor]:
    """Positions and token types as ALBERT counts them, from 0 on, [rows, width]; one row of zeros where a model has no
    types."""
    embeddings: Any = model.base_model.embeddings
    positions = embeddings.position_embeddings.weight.detach()
    if family_named(model.config.model_type).positions_after_pad:
        positions = positions[model.config.pad_token_id + 1 :]  # counted from there on
    return {"position_embeddings": positions, "token_type_embeddings": embeddings.token_type_embeddings.weight.detach()}


def _config(config: Any, embedding_size: int) -> "AlbertConfig":
    from transformers import AlbertConfig

    unused = config.pad_token_id + 1 if family_named(config.model_type).positions_after_pad else 0
    return AlbertConfig(
        vocab_size=config.vocab_size,
        embedding_size=embedding_size,
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_hidden_groups=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        intermediate_size=config.intermediate_size,
        inner_group_num=1,
        hidden_act=config.hidden_act,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.0,
        max_position_embeddings=config.max_position_embeddings - unused,
        type_vocab_size=config.type_vocab_size,
        layer_norm_eps=config.layer_norm_eps,
        initializer_range=config.initializer_range,
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        id2label=config.id2label,
        label2id=config.label2id,
        problem_type=config.problem_type,
    )


def _head(model: Any) -> "tuple[Linear, Linear]":
    """The layer under the tanh, and the one that gives the logits."""
    names = family_named(model.config.model_type).tanh_head
    assert names is not None  # only models of SOURCES come here
    dense, output = (model.get_submodule(name) for name in names)
    return dense, output


def _copy_embeddings(model: "PreTrainedModel", made: Any) -> None:
    old: Any = model.base_model.embeddings
    new: Module = made.albert.embeddings
    given = {"word_embeddings": old.word_embeddings.weight.detach(), **tables(model)}
    with torch.no_grad():
        for name, table in given.items():
            new.get_submodule(name).get_parameter("weight").copy_(table)
        new.get_submodule("LayerNorm").load_state_dict(old.LayerNorm.state_dict())
        mapping = made.albert.encoder.embedding_hidden_mapping_in
        mapping.weight.copy_(torch.eye(len(mapping.weight)))
        mapping.bias.zero_()
