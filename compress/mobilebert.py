"""Distil a teacher into a MobileBERT, layer by layer: feature maps, attention, then its answers (Sun et al. 2020, 2004.02984)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.finetune import write_classifier
from palmtop.compress.inverted_bottleneck import check_teacher
from palmtop.compress.matching.answer_losses import AnswerWeights
from palmtop.compress.matching.guards import unchanged
from palmtop.compress.matching.teachers import TaughtBySource
from palmtop.compress.mobile.mobilebert_body import PRESETS, Sizes
from palmtop.encoded import Encoded
from palmtop.stage import Outline
from palmtop.teacher import Wanted, signals

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from palmtop.compress.mobile.map_transfer import MapWeights, Transfer
    from palmtop.training_loop import Signals

    Heard = Callable[[Sequence[int]], Signals]

SIZES = ("layers", "width", "inner_width", "heads", "feed_forward", "stack", "embedding_size")
"""The settings that stand in place of the preset's."""


class Mobilebert(AnswerWeights, TaughtBySource):
    """Train a MobileBERT (bottlenecks, stacked feed-forward networks, NoNorm, ReLU, trigram embedding) from a teacher's layers.

    The teacher is an IB-BERT (stage inverted_bottleneck), whose maps are as wide as the student's: the paper's recipe. Or an ordinary
    BERT or RoBERTa, whose maps a projection brings to the student's width: then what is made is a MobileBERT with a BERT for a teacher,
    and the facts call it so. Compare with transfer_epochs: 0, which learns from the answers alone.
    """

    preset: Literal["tiny", "mobilebert", "mobilebert_tiny"] = "tiny"
    """Sizes of the student: one that trains in minutes on two cores, the paper's MobileBERT, and its MobileBERT_TINY."""
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
    """Width of the table of token vectors, in place of the preset's; with an IB-BERT it is the teacher's, whose table is copied."""
    strategy: Literal["auxiliary", "joint", "progressive"] = "joint"
    """Everything at once; all layers first and then the answers; or layer by layer, the paper's best, which wants many steps for each."""
    transfer_epochs: float = Field(default=6, ge=0, le=1000)
    """Passes over the data for the layers, all of them together; auxiliary adds them to epochs; 0 learns from the answers alone."""
    epochs: float = Field(default=6, gt=0, le=1000)
    """Passes over the data for the answers."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's highest rate in each phase; it falls linearly to 0. BERT's 2e-5 under-trains a MobileBERT; too high, NoNorm diverges."""
    lower_rate: float = Field(default=0.1, ge=0, le=1)
    """Progressive: rate of the embeddings and of the layers below the one that learns, as a share of learning_rate (TF1 code: 0.1)."""
    projection: Literal["pca", "learned"] = "pca"
    """For an ordinary teacher: its principal components, fixed; or linear layers after the student's, which can learn in its place."""
    attention: Literal["auto", "maps", "relations", "none"] = "auto"
    """Compare attention distributions (as many heads on both sides), or MiniLMv2's relations; auto: the first where heads allow it."""
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
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015). The TF1 code's scales hidden states instead."""
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
            raise ValueError("map_weight and attention_weight are both 0: there is nothing to transfer; set transfer_epochs: 0")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """A MobileBERT with the teacher's labels."""
        check_teacher("mobilebert", source, self.task, ("mobilebert",))
        assert source is not None
        sizes = self.sizes()
        if source.family != "mobilebert":
            sizes.check()
        return Outline("torch", "mobilebert", sizes.layers, source.labels, self.width, self.embedding_size, task=source.task)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Build the student, run the phases of the strategy, and write a Hugging Face folder."""
        from palmtop.compress.mobile.mobilebert_pair import pair_of
        from palmtop.compress.mobile.mobilebert_phases import train

        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        sizes = self.sizes(teaching.model.config)
        data = self.training_data(teaching.task, source, teaching.signature, scratch)
        with unchanged(teaching.model):
            pair = pair_of(teaching.model, sizes, self, data)
            heard, cost = self._heard(pair.transfer, source, data, scratch)
            fitted = train(pair, self, teaching.task, data, heard, (scratch, out))
        write_classifier(pair.student, source, teaching.task, teaching.signature, out)
        return fitted | pair.facts() | cost | data.facts()

    def _heard(self, transfer: "Transfer", source: Bundle, data: Encoded, scratch: Path) -> "tuple[Heard, dict[str, Any]]":
        """What gives the teacher's answers and some of its hidden states, and what that costs."""
        answers = signals(source, data, Wanted(), print).batch
        if not self.transfer_epochs:
            return lambda _: answers, {}
        passes = self.transfer_epochs + (self.epochs if self.strategy == "auxiliary" else 0)
        asked = self.ask(source, data, transfer.hidden(range(1, len(transfer.facing) + 1)), passes, scratch)
        return lambda hidden: asked.only(hidden) if hidden else answers, asked.facts()

    def map_weights(self) -> "MapWeights":
        """The weights of the transfer's terms."""
        from palmtop.compress.mobile.map_transfer import MapWeights

        return MapWeights(self.map_weight, self.mean_weight, self.variance_weight, self.attention_weight)

    def sizes(self, teacher: "PreTrainedConfig | None" = None) -> Sizes:
        """The preset's sizes with those of the settings in their place, and what a MobileBERT-shaped teacher prescribes.

        Raises:
            UserError: they don't fit each other or the teacher.
        """
        given = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        sizes = asdict(PRESETS[self.preset])
        if teacher is None or teacher.model_type != "mobilebert":
            return Sizes(**(sizes | given))
        inner = given.get("inner_width", sizes["inner_width"])
        heads = {"heads": teacher.num_attention_heads} if inner % teacher.num_attention_heads == 0 else {}
        return Sizes(**(sizes | {"width": teacher.hidden_size, "embedding_size": teacher.embedding_size} | heads | given))
