"""IB-BERT: MobileBERT's teacher, whose layers are wide inside and narrow between (Sun et al. 2020, 2004.02984, 3.2 and
Table 1).

transformers builds its configuration but can't run it: queries and keys read the block's narrow input, and are built
for the wide inside (512 -> 1024 wanted, 1024 -> 1024 made). With the key below in config.json palmtop builds them
right.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import MobileBertConfig, PreTrainedModel

KEY = "palmtop_inverted_bottleneck"
"""In config.json: true where queries and keys read the block's input."""


def ib_bert_config(**sizes: Any) -> "MobileBertConfig":
    """A config of an IB-BERT; `sizes` are MobileBertConfig's own words, by default the paper's 512 between and 1024
    inside.

    LayerNorm, GELU, one feed-forward part, no bottleneck before queries, keys and values, no pooler.
    """
    from transformers import MobileBertConfig

    paper = {
        "hidden_size": 512,
        "intra_bottleneck_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 4,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "classifier_activation": False,
    }
    fixed = {
        "num_feedforward_networks": 1,
        "use_bottleneck_attention": False,
        "key_query_shared_bottleneck": False,
        "normalization_type": "layer_norm",
        KEY: True,
    }
    return MobileBertConfig(**(paper | sizes | fixed))


def is_ib_bert(config: Any) -> bool:
    """Whether a model's config is of an IB-BERT."""
    return bool(config.to_dict().get(KEY))


def read_block_input(model: "PreTrainedModel") -> None:
    """Give a MobileBERT that was just built queries and keys that read the block's input; its weights are still
    nobody's."""
    from torch.nn import Linear

    from palmtop.models.linears import layers_of

    for layer in layers_of(model):
        attention = layer.get_submodule("attention.self")
        for name in ("query", "key"):
            built = attention.get_submodule(name)
            assert isinstance(built, Linear)
            attention.add_module(name, Linear(model.config.hidden_size, built.out_features, device=built.weight.device))
