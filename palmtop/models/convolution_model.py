"""The convolution student's model: a narrow table of token vectors, layers that see each token beside its neighbours,
one layer of attention where that is wanted, and a head on what is pooled of the tokens.

Whatever isn't a token's is zeroed before each convolution, so that a padded text answers as the text alone. A
convolution is written as linear layers of shifted texts: every format has fast kernels and integers for these.
transformers has no such class. palmtop tells it of these (`register`) where it opens a model, so that nothing of the
folder's own runs; without palmtop the folder doesn't open.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import Conv1d, Dropout, Embedding, LayerNorm, Linear, Module, ModuleList, functional
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from palmtop.models.embedder import NOT_REAL, pooled
from palmtop.models.family import CONVOLUTION
from palmtop.models.static_model import mean_of_tokens

INNER = 2
"""Width between the two linear layers behind a depthwise convolution, as a multiple of the model's."""


class ConvolutionConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """Sizes, in the words that other families use."""

    model_type = CONVOLUTION.model_type

    vocab_size: int = 30522
    embedding_size: int = 96
    """Width of a token's vector in the table."""
    hidden_size: int = 128
    """Width of the convolutions."""
    num_hidden_layers: int = 0
    """Transformer layers: none."""
    convolution_layers: int = 3
    convolution: str = "gated"
    """gated or depthwise."""
    kernel_size: int = 3
    """Tokens that a layer sees at once, itself in the middle."""
    num_attention_heads: int = 0
    """Heads of one layer of attention behind the convolutions; 0: there is none."""
    pooling: str = "mean_max"
    """Over the real tokens: mean, max, or both side by side."""
    head_size: int = 128
    """Width of the layer between what is pooled and the labels; 0 for none."""
    hidden_act: str = "relu"
    dropout: float | int = 0.1
    """On the vectors, in every layer, and in the head."""
    max_position_embeddings: int = 512
    """Longest text in tokens. There is no table of positions."""
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = 0


class Convolutional(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """What the classes here have in common."""

    config_class = ConvolutionConfig
    base_model_prefix = "convolutions"

    def _init_weights(self, module: Module) -> None:
        """Weights that keep the size of what goes through them: there is nothing pretrained to go by."""
        if isinstance(module, Linear):
            init.normal_(module.weight, mean=0.0, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        elif isinstance(module, Conv1d):
            init.normal_(module.weight, mean=0.0, std=module.kernel_size[0] ** -0.5)
        else:
            super()._init_weights(module)


class ConvolutionModel(Convolutional):
    """The tokens' states, without a head."""

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__(config)
        self.word_embeddings = Embedding(config.vocab_size, config.embedding_size)
        self.projection = Linear(config.embedding_size, config.hidden_size)
        self.dropout = Dropout(config.dropout)
        self.layer = ModuleList(LAYERS[config.convolution](config) for _ in range(config.convolution_layers))
        self.attention = Attention(config) if config.num_attention_heads else None
        self.norm = LayerNorm(config.hidden_size, config.layer_norm_eps)
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
    ) -> BaseModelOutput:
        """`last_hidden_state` [batch, tokens, width]; hidden states, where they are asked for, begin with the vectors
        before the first layer.

        Args:
            attention_mask: 1 for a real token, 0 for padding; all real by default.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        real = mask.to(self.projection.weight.dtype)[..., None]
        states = [self.dropout(self.projection(self.word_embeddings(input_ids)))]
        for layer in self.layer:
            states.append(layer(states[-1], real))
        if self.attention is not None:
            states.append(self.attention(states[-1], real))
        last = self.norm(states[-1])
        return BaseModelOutput(
            last_hidden_state=last, hidden_states=(*states[:-1], last) if output_hidden_states else None
        )


class ConvolutionForSequenceClassification(Convolutional):
    """Scores of the labels, or a number, from what is pooled of the tokens' states."""

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.convolutions = ConvolutionModel(config)
        self.dropout = Dropout(config.dropout)
        width = config.hidden_size * len(config.pooling.split("_"))
        self.dense = Linear(width, config.head_size) if config.head_size else None
        self.activation = ACT2FN[config.hidden_act]
        self.classifier = Linear(config.head_size or width, config.num_labels)
        self.post_init()

    def get_input_embeddings(self) -> Embedding:
        """The table."""
        return self.convolutions.word_embeddings

    def set_input_embeddings(self, value: Embedding) -> None:
        """Another table in its place."""
        self.convolutions.word_embeddings = value

    def forward(
        self,
        input_ids: Int[Tensor, "batch tokens"],
        attention_mask: Int[Tensor, "batch tokens"] | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """`logits` [batch, labels].

        Args:
            attention_mask: 1 for a real token, 0 for padding; all real by default.
        """
        body = self.convolutions(input_ids, attention_mask, output_hidden_states)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.dropout(_side_by_side(body.last_hidden_state, real, self.config.pooling))
        if self.dense is not None:
            hidden = self.dropout(self.activation(self.dense(hidden)))
        return SequenceClassifierOutput(logits=self.classifier(hidden), hidden_states=body.hidden_states)


class GatedConvolution(Module):
    """x + (X W + b) * sigmoid(X V + c), X each token of the normed x beside its neighbours (Dauphin et al. 2017,
    1612.08083, equation 1; a kernel of k tokens is W of k times the width)."""

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__()
        self.size, width = config.kernel_size, config.hidden_size
        self.norm = LayerNorm(width, config.layer_norm_eps)
        self.value = Linear(self.size * width, width)
        self.gate = Linear(self.size * width, width)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, states: Float[Tensor, "batch tokens width"], real: Float[Tensor, "batch tokens 1"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Each token after it has seen its neighbours.

        Args:
            real: 1 for a real token, 0 for padding, which no token sees.
        """
        seen = torch.cat(neighbours(self.norm(states) * real, self.size), dim=-1)
        made: Tensor = states + self.dropout(self.value(seen) * self.gate(seen).sigmoid())
        return made


class DepthwiseConvolution(Module):
    """x + W2 act(W1 c(x)), c each channel of the normed x convolved alone (ConvNeXt's order: Liu et al. 2022,
    2201.03545, figure 4, with the norm before the convolution, so that padding can be zeroed between)."""

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__()
        self.size, width = config.kernel_size, config.hidden_size
        self.norm = LayerNorm(width, config.layer_norm_eps)
        self.depthwise = Conv1d(width, width, self.size, groups=width, bias=False)  # the next layer has one
        self.inner = Linear(width, INNER * width)
        self.activation = ACT2FN[config.hidden_act]
        self.output = Linear(INNER * width, width)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, states: Float[Tensor, "batch tokens width"], real: Float[Tensor, "batch tokens 1"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Each token after it has seen its neighbours.

        Args:
            real: 1 for a real token, 0 for padding, which no token sees.
        """
        seen = neighbours(self.norm(states) * real, self.size)
        alone = seen[0] * self.depthwise.weight[:, 0, 0]
        for place in range(1, self.size):
            alone = alone + seen[place] * self.depthwise.weight[:, 0, place]
        inner = self.activation(self.inner(alone))
        made: Tensor = states + self.dropout(self.output(inner))
        return made


class Attention(Module):
    """x + softmax(Q K' / sqrt(d)) V W (Vaswani et al. 2017, 1706.03762, equation 1, of the normed x), which knows
    positions by what the convolutions before it saw."""

    def __init__(self, config: ConvolutionConfig) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.norm = LayerNorm(width, config.layer_norm_eps)
        self.query, self.key, self.value, self.output = (Linear(width, width) for _ in range(4))
        self.dropout = Dropout(config.dropout)

    def forward(
        self, states: Float[Tensor, "batch tokens width"], real: Float[Tensor, "batch tokens 1"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Each token after it has seen all real ones.

        Args:
            real: 1 for a real token, 0 for padding, which no token sees.
        """
        normed = self.norm(states)
        heads = (*states.shape[:2], self.heads, states.shape[-1] // self.heads)
        query, key, value = (part(normed).view(heads).transpose(1, 2) for part in (self.query, self.key, self.value))
        hidden = (1.0 - real[:, None, None, :, 0]) * NOT_REAL
        scores = query @ key.transpose(-1, -2) / math.sqrt(heads[-1]) + hidden
        seen = (scores.softmax(-1) @ value).transpose(1, 2).reshape(states.shape)
        made: Tensor = states + self.dropout(self.output(seen))
        return made


LAYERS: dict[str, Any] = {"gated": GatedConvolution, "depthwise": DepthwiseConvolution}


def neighbours(states: Float[Tensor, "batch tokens width"], size: int) -> list[Float[Tensor, "batch tokens width"]]:
    """For each place of a kernel of `size` tokens, the token that it reads; zeros before the first and behind the
    last."""
    padded = functional.pad(states, (0, 0, (size - 1) // 2, size // 2))
    return [padded[:, place : place - size + 1 or None] for place in range(size)]


def _side_by_side(
    states: Float[Tensor, "batch tokens width"], real: Int[Tensor, "batch tokens"], pooling: str
) -> Float[Tensor, "batch pooled"]:
    """The mean of the real tokens' states, the largest number of each place among them, or both."""
    parts = [mean_of_tokens(states, real) if one == "mean" else pooled(states, real, one) for one in pooling.split("_")]
    return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def register() -> None:
    """Let transformers' Auto classes open folders of this family, in this process."""
    AutoConfig.register(CONVOLUTION.model_type, ConvolutionConfig, exist_ok=True)
    AutoModel.register(ConvolutionConfig, ConvolutionModel, exist_ok=True)
    AutoModelForSequenceClassification.register(ConvolutionConfig, ConvolutionForSequenceClassification, exist_ok=True)
