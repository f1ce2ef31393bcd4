"""BERT as DistilBERT: without token types and pooler, every other weight the same (Sanh et al. 2019, 1910.01108, 3)."""

from typing import TYPE_CHECKING

from palmtop.errors import UserError
from palmtop.models.reshaped import changed

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

EPSILON = 1e-12
"""Of DistilBERT's norms, which its config doesn't name."""
_LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
_REST = {
    "bert.embeddings.word_embeddings": "distilbert.embeddings.word_embeddings",
    "bert.embeddings.LayerNorm": "distilbert.embeddings.LayerNorm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",
}
_POSITIONS, _TYPES = "bert.embeddings.position_embeddings.weight", "bert.embeddings.token_type_embeddings.weight"


def check_distilbert(config: "PreTrainedConfig") -> None:
    """Whether DistilBERT's class can compute what a BERT of this config does.

    Raises:
        UserError: it can't; every reason.
    """
    faults = []
    if config.layer_norm_eps != EPSILON:
        faults.append(f"its layer_norm_eps is {config.layer_norm_eps}, DistilBERT's is always {EPSILON}")
    if config.is_decoder:
        faults.append("it is set up as a decoder")
    if keys := changed(config.to_dict()):
        faults.append(f"it has {', '.join(keys)}, which DistilBERT hasn't")
    if not config.tie_word_embeddings:
        faults.append("its output matrix is not its word embedding's")
    if faults:
        raise UserError(
            [
                f"this BERT can't become a DistilBERT: {fault}; set as_distilbert: false to keep it a BERT"
                for fault in faults
            ]
        )


def as_distilbert(model: "PreTrainedModel") -> "PreTrainedModel":
    """A BERT with its masked-LM head as DistilBertForMaskedLM, for texts of one segment: the same function but for
    rounding.

    The vector of token type 0, which every token gets, is added to each position's. The reference code drops it, and
    copies the head's transform (dense and norm) only with a flag: a student then starts elsewhere than its teacher,
    even with all layers.
    """
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    old = model.config
    check_distilbert(old)
    config = DistilBertConfig(
        vocab_size=old.vocab_size,
        max_position_embeddings=old.max_position_embeddings,
        n_layers=old.num_hidden_layers,
        n_heads=old.num_attention_heads,
        dim=old.hidden_size,
        hidden_dim=old.intermediate_size,
        dropout=old.hidden_dropout_prob,
        attention_dropout=old.attention_probs_dropout_prob,
        activation=old.hidden_act,
        initializer_range=old.initializer_range,
        pad_token_id=old.pad_token_id,
        sinusoidal_pos_embds=False,
        tie_word_embeddings=True,
    )
    made: PreTrainedModel = DistilBertForMaskedLM._from_config(config, attn_implementation=old._attn_implementation)
    made.load_state_dict(_renamed(model.state_dict()))
    return made.eval()


def _renamed(state: "dict[str, Tensor]") -> "dict[str, Tensor]":
    renamed = {"distilbert.embeddings.position_embeddings.weight": state[_POSITIONS] + state[_TYPES][0]}
    for name, weight in state.items():
        module, _, kind = name.rpartition(".")
        if module.startswith("bert.encoder.layer."):
            number, part = module.removeprefix("bert.encoder.layer.").split(".", 1)
            renamed[f"distilbert.transformer.layer.{number}.{_LAYER[part]}.{kind}"] = weight
        elif module in _REST:
            renamed[f"{_REST[module]}.{kind}"] = weight
    return renamed
