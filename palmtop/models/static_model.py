"""The static student's model: a table of token vectors, their mean over a text's real tokens, and a small head; no
layers.

transformers has no such class. palmtop tells it of these (`register`) where it opens a model, so that nothing of the
folder's own runs; without palmtop the folder doesn't open.
"""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import Dropout, Embedding, Linear
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import SequenceClassifierOutput

from palmtop.models.family import STATIC

NO_TOKEN = 1e-9
"""Added to the number of real tokens: no float32 changes by it but 0, so that a text without tokens has the mean 0."""


class StaticConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """Sizes, in the words that other families use."""

    model_type = STATIC.model_type

    vocab_size: int = 30522
    hidden_size: int = 256
    """Width of a token's vector."""
    num_hidden_layers: int = 0
    head_size: int = 512
    """Width of the layer between mean and labels; 0 for none."""
    hidden_act: str = "relu"
    dropout: float | int = 0.1
    """On the mean and in the head."""
    max_position_embeddings: int = 512
    """Longest text in tokens. There is no table of positions."""
    initializer_range: float = 0.02
    pad_token_id: int | None = 0


class StaticForSequenceClassification(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """Scores of the labels from the mean of the tokens' vectors; the order of the tokens says nothing."""

    config_class = StaticConfig

    def __init__(self, config: StaticConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.word_embeddings = Embedding(config.vocab_size, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.dense = Linear(config.hidden_size, config.head_size) if config.head_size else None
        self.activation = ACT2FN[config.hidden_act]
        self.classifier = Linear(config.head_size or config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> Embedding:
        """The table."""
        return self.word_embeddings

    def set_input_embeddings(self, value: Embedding) -> None:
        """Another table in its place."""
        self.word_embeddings = value

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """`logits` [batch, labels]; hidden states, where they are asked for, are the tokens' vectors alone: there is no
        layer.

        Args:
            attention_mask: 1 for a real token, 0 for padding; all real by default.
        """
        vectors = self.word_embeddings(input_ids)
        hidden = self.dropout(mean_of_tokens(vectors, attention_mask))
        if self.dense is not None:
            hidden = self.dropout(self.activation(self.dense(hidden)))
        return SequenceClassifierOutput(
            logits=self.classifier(hidden), hidden_states=(vectors,) if output_hidden_states else None
        )


def mean_of_tokens(
    vectors: Float[Tensor, "batch tokens width"], mask: Int[Tensor, "batch tokens"] | None
) -> Float[Tensor, "batch width"]:
    """The mean over the tokens that the mask marks with 1; 0 where there is none."""
    if mask is None:
        return vectors.mean(1)
    real = mask.to(vectors.dtype)[..., None]
    mean: Tensor = (vectors * real).sum(1) / (real.sum(1) + NO_TOKEN)
    return mean


def register() -> None:
    """Let transformers' Auto classes open folders of this family, in this process."""
    AutoConfig.register(STATIC.model_type, StaticConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(StaticConfig, StaticForSequenceClassification, exist_ok=True)
