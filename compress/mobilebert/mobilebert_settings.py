"""The settings of mobilebert: the student's sizes, the strategy, the weights of the transfer's terms."""

from abc import ABC
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from palmtop.compress.distillation.teachers import TaughtBySource
from palmtop.compress.learning.training_settings import GivenRates
from palmtop.compress.mobilebert.mobilebert_body import PRESETS, Sizes
from palmtop.models.family import family_named

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from palmtop.compress.mobilebert.map_transfer import MapWeights

SIZES = ("layers", "width", "inner_width", "heads", "feed_forward", "stack", "embedding_size")
"""The settings that stand in place of the preset's."""


class MobilebertSettings(TaughtBySource, GivenRates, ABC):
    """What a MobileBERT is to be, and how it learns from its teacher's layers."""

    preset: Literal["tiny", "mobilebert", "mobilebert_tiny"] = "tiny"
    """Sizes of the student: one that trains in minutes on two cores, the paper's MobileBERT, and its
    MobileBERT_TINY."""
    layers: int | None = Field(default=None, ge=1, le=64)
    """Blocks, in place of the preset's."""
    width: int | None = Field(default=None, ge=4)
    """Width between the blocks, in place of the preset's; with an IB-BERT it is the teacher's."""
    inner_width: int | None = Field(default=None, ge=4)
    """Width inside the blocks, in place of the preset's."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads, in place of the preset's; as many as an IB-BERT has, where they divide inner_width."""
    feed_forward: int | None = Field(default=None, ge=1)
    """Neurons of one feed-forward network, in place of the preset's."""
    stack: int | None = Field(default=None, ge=1, le=16)
    """Feed-forward networks in a block, in place of the preset's."""
    embedding_size: int | None = Field(default=None, ge=4)
    """Width of the table of token vectors, in place of the preset's; with an IB-BERT it is the teacher's, whose table
    is copied."""
    strategy: Literal["auxiliary", "joint", "progressive"] = "joint"
    """Everything at once; all layers first and then the answers; or layer by layer, the paper's best, which wants many
    steps for each."""
    transfer_epochs: float = Field(default=6, ge=0, le=1000)
    """Passes over the data for the layers, all of them together; auxiliary adds them to epochs; 0 learns from the
    answers alone."""
    epochs: float = Field(default=6, gt=0, le=1000)
    """Passes over the data for the answers."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's highest rate in each phase; it falls linearly to 0. BERT's 2e-5 under-trains a MobileBERT; too high,
    NoNorm diverges."""
    lower_rate: float = Field(default=0.1, ge=0, le=1)
    """Progressive: rate of the embeddings and of the layers below the one that learns, as a share of learning_rate (TF1
    code: 0.1)."""
    projection: Literal["pca", "learned"] = "pca"
    """For an ordinary teacher: its principal components, fixed; or linear layers after the student's, which can learn
    in its place."""
    attention: Literal["auto", "maps", "relations", "none"] = "auto"
    """Compare attention distributions (as many heads on both sides), or MiniLMv2's relations; auto: the first where
    heads allow it."""
    relation_heads: int | None = Field(default=None, ge=1)
    """Heads of the relations; by default the most that divide both widths and are at least 8 wide in the student."""
    map_weight: float = Field(default=100.0, ge=0)
    """Weight of the mean squared difference of normalised feature maps, mean over layers."""
    mean_weight: float = Field(default=5000.0, ge=0)
    """Weight of the squared difference of the tokens' means."""
    variance_weight: float = Field(default=5.0, ge=0)
    """Weight of the absolute difference of the tokens' variances."""
    attention_weight: float = Field(default=1.0, ge=0)
    """Weight of the attention's or the relations' KL."""
    temperature: float = Field(default=1.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015). The TF1 code's scales hidden states
    instead."""
    soft_weight: float = Field(default=0.5, ge=0)
    """Weight of the teacher's answers (the paper's 1 - alpha)."""
    label_weight: float = Field(default=0.5, ge=0)
    """Weight of the hard labels (the paper's alpha)."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the student. The paper's config has 0.1; the TF1 code distils without."""
    sample: int = Field(default=2048, ge=16)
    """Texts over which principal components, the first head and the embeddings' scale are computed."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.soft_weight == self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: no answer would be learnt")
        if self.transfer_epochs and self.map_weight == 0 and (self.attention_weight == 0 or self.attention == "none"):
            raise ValueError(
                "map_weight and attention_weight are both 0: there is nothing to transfer; set transfer_epochs: 0"
            )
        return self

    def map_weights(self) -> "MapWeights":
        """The weights of the transfer's terms."""
        from palmtop.compress.mobilebert.map_transfer import MapWeights

        return MapWeights(self.map_weight, self.mean_weight, self.variance_weight, self.attention_weight)

    def sizes(self, teacher: "PreTrainedConfig | None" = None) -> Sizes:
        """The preset's sizes with those of the settings in their place, and what a MobileBERT-shaped teacher
        prescribes.

        Raises:
            UserError: they don't fit each other or the teacher.
        """
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        sizes = asdict(PRESETS[self.preset])
        if teacher is None or not family_named(teacher.model_type).bottlenecks:
            return Sizes(**(sizes | given))
        inner = given.get("inner_width", sizes["inner_width"])
        heads = {"heads": teacher.num_attention_heads} if inner % teacher.num_attention_heads == 0 else {}
        return Sizes(
            **(sizes | {"width": teacher.hidden_size, "embedding_size": teacher.embedding_size} | heads | given)
        )
