"""MobileBERT's body: the paper's sizes and one for small machines as presets, and a student of such sizes with its
teacher's embeddings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palmtop.errors import UserError

if TYPE_CHECKING:
    from transformers import MobileBertConfig, PreTrainedConfig


@dataclass(frozen=True)
class Sizes:
    """Sizes of a MobileBERT, in this project's words."""

    layers: int
    width: int
    """Between the blocks: transformers' hidden_size."""
    inner_width: int
    """Inside: intra_bottleneck_size."""
    heads: int
    feed_forward: int
    """Neurons of one feed-forward network: intermediate_size."""
    stack: int
    """Feed-forward networks in a block: num_feedforward_networks."""
    embedding_size: int
    shared_bottleneck: bool
    """Queries and keys read a bottleneck of their own, values the block's input; otherwise all three read the one
    bottleneck."""

    def check(self) -> None:
        """Raises: UserError: heads that don't divide the width inside."""
        if self.inner_width % self.heads:
            raise UserError(f"heads is {self.heads}, which does not divide inner_width {self.inner_width}")


PRESETS = {
    "tiny": Sizes(
        layers=6,
        width=192,
        inner_width=96,
        heads=4,
        feed_forward=192,
        stack=2,
        embedding_size=96,
        shared_bottleneck=True,
    ),
    "mobilebert": Sizes(
        layers=24,
        width=512,
        inner_width=128,
        heads=4,
        feed_forward=512,
        stack=4,
        embedding_size=128,
        shared_bottleneck=True,
    ),
    "mobilebert_tiny": Sizes(
        layers=24,
        width=512,
        inner_width=128,
        heads=4,
        feed_forward=512,
        stack=2,
        embedding_size=128,
        shared_bottleneck=False,
    ),
}
"""Of the last two the paper counts 25.3 and 15.1 million parameters; transformers builds 24.6 and 15.5 (2004.02984,
Table 1)."""


def mobilebert_config(sizes: Sizes, attention_dropout: float, taken_over: dict[str, Any]) -> "MobileBertConfig":
    """NoNorm, ReLU, trigram embedding, stacked feed-forward, no pooler: the head reads [CLS] itself, as the released
    model's does.

    transformers' default of a pooler (`classifier_activation`) adds a layer that the paper's model has not.
    """
    from transformers import MobileBertConfig

    return MobileBertConfig(
        hidden_size=sizes.width,
        intra_bottleneck_size=sizes.inner_width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        num_feedforward_networks=sizes.stack,
        embedding_size=sizes.embedding_size,
        key_query_shared_bottleneck=sizes.shared_bottleneck,
        use_bottleneck_attention=not sizes.shared_bottleneck,
        normalization_type="no_norm",
        hidden_act="relu",
        trigram_input=True,
        classifier_activation=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=attention_dropout,
        **taken_over,
    )


def labels_of(teacher: "PreTrainedConfig") -> dict[str, Any]:
    """What a student's config says of its head, as the teacher's does."""
    return {"id2label": teacher.id2label, "label2id": teacher.label2id, "problem_type": teacher.problem_type}
