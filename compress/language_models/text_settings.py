"""What the stages that learn from plain text have in common: the text, what is kept apart of it, and how the student
starts."""

from abc import ABC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from palmtop.bundle import Bundle
from palmtop.compress.language_models.corpus import Corpus
from palmtop.compress.language_models.sequences import SHORTEST
from palmtop.compress.learning.layer_choice import Choice, start_layers
from palmtop.compress.learning.torch_bundles import copy_tokenizer
from palmtop.compress.learning.training_settings import GivenRates
from palmtop.models.family import inputs_of
from palmtop.processes import rank
from palmtop.signature import Signature
from palmtop.stage import Outline

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class OnText(GivenRates, ABC):
    """The settings of every stage that learns a language from plain text."""

    text: str | tuple[str, ...] | dict[str, Any]
    """Plain text: .txt or .txt.gz files or folders of them, seen from the current folder; or written out, as {dataset:
    NAME, column: text, unit: paragraph}."""
    held_out: int = Field(default=100, ge=0)
    """Sequences kept apart, on which each term of the loss is measured before and after; 0: none."""
    epochs: float = Field(default=3, gt=0, le=1000)
    """Passes over the text."""
    batch_size: int = Field(default=32, ge=1)
    """Sequences behind one optimizer step, over all processes and accumulated batches together; DistilBERT's had up to
    4,000."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """AdamW's highest rate; it falls linearly to 0."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """On all weights but biases and norms."""
    max_length: int = Field(default=128, ge=SHORTEST, le=8192)
    """Tokens of the longest sequence, specials included; a longer text makes several. Never more than the model has
    positions for."""

    def effort(self, source: Outline | None, rows: int) -> None:
        """Not known: its texts aren't the task's."""

    def inputs(self) -> dict[str, str]:
        """The text."""
        return {"text": Corpus.find(self.text).digest}


class OnMaskedText(OnText, ABC):
    """The settings of every stage that learns from text with words hidden."""

    mask_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of a step's tokens that is chosen; of these 80 % become the mask token, 10 % a random one, 10 % stay."""
    mask_smoothing: float = Field(default=0.7, ge=0, le=1)
    """A token seen n times is chosen with weight n^-smoothing, so rare words more often; 0: all alike (BERT,
    ALBERT)."""
    mask_spans: int = Field(default=1, ge=1, le=10)
    """Longest run of neighbours chosen together, of n with probability ~ 1/n; ALBERT: 3."""
    sentence_order_weight: float = Field(default=0.0, ge=0)
    """Weight of telling whether two segments were swapped, as half of them are (ALBERT: 1); only for families with a
    head for it."""
    dropout: Literal["auto", "on", "off"] = "auto"
    """The model's own dropout, or none; auto: none where sentence order is learnt, as ALBERT is trained."""


class OnTextByTeacher(OnText, ABC):
    """The settings of every stage whose student starts from some layers of a language model, and learns its answers."""

    layers: int | tuple[int, ...] | None = None
    """How many layers the student has, or which of the teacher's (0-based) it starts from; half of them by default."""
    choose: Choice = "spread"
    """Which layers a number means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""
    temperature: float = Field(default=2.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015)."""
    soft_weight: float = Field(default=5.0, ge=0)
    """Weight of the soft targets over the vocabulary."""
    cosine_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between last hidden states, at every real position."""
    top: int = Field(default=32, ge=1, le=1024)
    """Where the teacher's answers are kept: how many of its most probable words at each position; the others go as
    one."""

    def chosen(self, available: int, default: int) -> list[int]:
        """The layers that the student starts from.

        Raises:
            UserError: the teacher hasn't these.
        """
        return start_layers(self.layers if self.layers is not None else default, self.choose, available)


def write_language_model(model: "PreTrainedModel", source: Bundle, signature: Signature, out: Path) -> None:
    """Write weights, tokenizer and signature; only the first process of a distributed run does."""
    if rank() > 0:
        return
    model.save_pretrained(out)
    copy_tokenizer(source.path, out)
    signature.model_copy(update={"inputs": inputs_of(model.config.to_dict())}).write(out)
