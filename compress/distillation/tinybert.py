"""TinyBERT: embeddings, hidden states and attention scores layer by layer, then the answers (Jiao et al. 2020,
1909.10351)."""

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.compress.distillation.layer_transfer_stage import LayerTransferStage
from palmtop.compress.distillation.matches import Match, Pair, tinybert


class Tinybert(LayerTransferStage):
    """Imitate the teacher's layers (epochs, learning_rate), then its answers (prediction_epochs, prediction_rate).

    Where paper and reference code differ: projections are each match's own (paper), 'shared' for the code's single one;
    the soft targets are a plain cross-entropy's gradient per text (paper; the code's mean over classes too makes its
    rate depend on their number); the teacher is in eval mode (the code leaves its dropout on); padding is left out; a
    pair is augmented from the original each time. The number of texts made of each, epochs and rates are settings, with
    the code's values as defaults.
    """

    method: ClassVar[str] = "tinybert"

    embedding_weight: float = Field(default=1.0, ge=0)
    """Weight of the embeddings' output."""
    hidden_weight: float = Field(default=1.0, ge=0)
    """Weight of the layers' outputs, added up over layers."""
    attention_weight: float = Field(default=1.0, ge=0)
    """Weight of the attention scores before the softmax, added up over layers; 0 for families with position terms in
    them."""
    projection: Literal["none", "own", "shared"] | None = None
    """Learnt linear layers from the student's width into the teacher's: each match its own, or one for all; by default
    none where the widths are equal, else own."""
    epochs: float = Field(default=10, gt=0, le=1000)
    """Passes over the training data while layers are imitated (paper: 20, or 10 for large tasks, over augmented
    texts)."""
    prediction_rate: float | None = Field(default=3e-5, gt=0)
    """The learning_rate of the second training (paper: 1e-5 to 3e-5)."""
    temperature: float = Field(default=1.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2."""
    label_weight: float = Field(default=0.0, ge=0)
    """Weight of the hard labels; the paper uses none. In a regression the reference code learns from these alone,
    without soft_weight."""

    @model_validator(mode="after")
    def _something_to_imitate(self) -> Self:
        if self.embedding_weight == self.hidden_weight == self.attention_weight == 0:
            raise ValueError(
                "embedding_weight, hidden_weight and attention_weight are all 0: there is nothing to imitate; use "
                "the stage distill"
            )
        return self

    def chosen_matches(self, pair: Pair) -> Sequence[Match]:
        """The embeddings', and two for each of the student's layers."""
        return tinybert(pair, self.projection, self.embedding_weight, self.hidden_weight, self.attention_weight)
