"""A student that knows the order of words without attention: its teacher's token vectors, made narrow, a few
convolutions over neighbouring tokens, a head; taught by the teacher's answers."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from pydantic import Field, field_validator, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.answer_losses import distillation_loss
from palmtop.compress.distillation.guards import check_labels
from palmtop.compress.distillation.more_texts import MoreTexts
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import GivenRates
from palmtop.compress.without_layers.convolution_sizes import SIZES, Megabytes, Shape
from palmtop.compress.without_layers.own_tokenizer import OwnTokenizer, own_tokenizer
from palmtop.compress.without_layers.table_student import (
    INPUTS,
    answers_of,
    check_width,
    config_of,
    labels_in,
    unasked,
)
from palmtop.compress.without_layers.token_vectors import reduced, states_of_tokens
from palmtop.models.family import CONVOLUTION
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from palmtop.models.convolution_model import ConvolutionForSequenceClassification


class Convolution(MoreTexts, GivenRates):
    """Give a student of convolutions the teacher's vectors of the tokens that the texts need most; then train all of it
    on the teacher's answers and the labels."""

    produces: ClassVar[Format] = "torch"

    megabytes: Megabytes = "2"
    """What the int8 file is to take at most with its tokenizer: decides vocabulary, embedding_size, width and layers,
    where they aren't given."""
    vocabulary: int | None = Field(default=None, ge=1)
    """Tokens at most: those that the training texts need most, then others by their ids. By default as megabytes
    says."""
    embedding_size: int | None = Field(default=None, ge=1)
    """Numbers in a token's vector in the table, at most as many as the teacher's hidden states have; by default as
    megabytes says."""
    width: int | None = Field(default=None, ge=1)
    """Numbers in a token's state between the convolutions; by default as megabytes says."""
    layers: int | None = Field(default=None, ge=1, le=24)
    """Convolutions, one after the other; by default as megabytes says."""
    form: Literal["gated", "depthwise"] = "gated"
    """gated: all channels of the neighbours, times a gate of the same (Dauphin et al. 2017); depthwise: each channel
    alone, then a feed-forward part: fewer bytes a layer, for longer kernels."""
    kernel: int = Field(default=3, ge=1, le=31)
    """Tokens that a convolution sees at once; odd, the token itself in the middle."""
    attention_heads: int = Field(default=0, ge=0)
    """Heads of one layer of attention behind the convolutions, which sees the whole text; 0 for none."""
    pooling: Literal["mean", "max", "mean_max"] = "mean_max"
    """What the head reads of the tokens: their mean, the largest number of each place, or both."""
    head_size: int = Field(default=128, ge=0)
    """Width of the layer between what is pooled and the labels; 0 for none."""
    states: Literal["token", "mean"] = "token"
    """What a token's vector is made of, of [CLS] token [SEP] through the teacher: the token's own last hidden state, or
    the mean of all."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of numbers left out in training: of the vectors, in every layer, and in the head."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets; 0 for a source that was not fine-tuned, and then the labels alone teach."""
    epochs: float = Field(default=10, gt=0, le=1000)
    """Passes over the training data."""
    batch_size: int = Field(default=128, ge=1)
    """Texts behind one optimizer step, over all processes and accumulated batches together."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """The highest rate of all but the table; it falls linearly to 0."""
    table_rate: float = Field(default=1e-3, gt=0)
    """The table's highest rate; no weight decay, so that tokens which the training texts lack stay as the teacher has
    them."""

    @field_validator("megabytes", mode="before")
    @classmethod
    def _a_number_is_a_word(cls, value: Any) -> Any:
        return f"{value:g}" if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.soft_weight == self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: nothing would be learnt")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}: give an odd one, such as {self.kernel + 1}")
        if self.attention_heads and self.shape.width % self.attention_heads:
            raise ValueError(
                f"attention_heads is {self.attention_heads}, which doesn't divide the width {self.shape.width}: choose "
                "one that does, or another width"
            )
        return self

    @property
    def shape(self) -> Shape:
        """The sizes that are given, and for the others those of `megabytes`."""
        usual = SIZES[self.megabytes]
        return Shape(
            self.vocabulary or usual.vocabulary,
            self.embedding_size or usual.embedding_size,
            self.width or usual.width,
            self.layers or usual.layers,
        )

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and what makes more of them."""
        return task_input(self.task) | self.more_inputs()

    def outline(self, source: Outline | None) -> Outline:
        """A model without transformer layers."""
        answers = answers_of("convolution", source, self.task, self.soft_weight > 0)
        assert source is not None  # it was asked for its answers
        if source.width is not None:
            check_width("embedding_size", self.shape.embedding_size, source.width)
        self.check_more(answers.kind)
        shape = self.shape
        return Outline(
            "torch",
            CONVOLUTION.model_type,
            0,
            answers.labels,
            shape.width,
            shape.embedding_size,
            0,
            task=answers.kind,
        )

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Choose the tokens, make the table, ask the teacher once, train, and write a Hugging Face folder that palmtop
        opens."""
        assert source is not None  # the driver checked `accepts`
        task, theirs, config = task_of(source, self.task), shortened(source, self.max_length), config_of(source)
        if self.soft_weight:
            check_labels(labels_in(config), task)
        split = task.load("train")
        rows = self.more_rows(self.rows_of(split), source, theirs, work)
        said = None
        if self.soft_weight:
            said = signals(source, Encoded.of(rows.split, source.path, theirs), Wanted(), work.say)
        own = own_tokenizer(source, theirs, split.texts, self.shape.vocabulary, work.scratch, work.say)
        ours = theirs.model_copy(update={"inputs": INPUTS, "lengths": None, "pad_id": own.pad})
        data = rows.told(Encoded.of(rows.split, own.folder, ours))
        states = states_of_tokens(source, self.states, work.say) if self.learns else unasked(config, self.seed)
        check_width("embedding_size", self.shape.embedding_size, states.shape[1])
        made = reduced(states[own.rows], self.shape.embedding_size)
        model = self._model(_of_size_one(made.vectors, data), task, ours)
        fitted = fit(
            model,
            data,
            distillation_loss(self, task),
            self,
            work.scratch,
            said.batch if said else None,
            Special(rates={"word_embeddings": self.table_rate}),
        )
        write_classifier(model, source, task, ours, work.out, tokenizer=own.folder)
        keep_logs(work)
        return fitted.facts() | data.facts() | self._facts(own, data, made.variance) | {"teacher": source.digest}

    def _facts(self, own: OwnTokenizer, data: Encoded, variance: float) -> dict[str, Any]:
        shape = self.shape
        return {
            "tokens": len(own.rows),
            "tokens_trained": len(np.unique(data.ids)),
            "variance_kept": round(variance, 4),
            "embedding_size": shape.embedding_size,
            "width": shape.width,
            "convolutions": shape.layers,
        }

    def _model(
        self, table: Float32[ndarray, "tokens width"], task: Task, signature: Signature
    ) -> "ConvolutionForSequenceClassification":
        """The student with a table of these rows, and all else random."""
        import torch

        from palmtop.models.convolution_model import ConvolutionConfig, ConvolutionForSequenceClassification

        torch.manual_seed(self.seed)
        names, shape = dict(enumerate(task.label_names)), self.shape
        config = ConvolutionConfig(
            vocab_size=1,
            embedding_size=shape.embedding_size,
            hidden_size=shape.width,
            convolution_layers=shape.layers,
            convolution=self.form,
            kernel_size=self.kernel,
            num_attention_heads=self.attention_heads,
            pooling=self.pooling,
            head_size=self.head_size,
            dropout=self.dropout,
            max_position_embeddings=signature.max_length,
            pad_token_id=signature.pad_id,
            id2label=names,
            label2id={name: index for index, name in names.items()},
            problem_type=task.of_kind.problem_type,
        )
        model = ConvolutionForSequenceClassification(config)  # of one row: the random weights are every vocabulary's
        model.set_input_embeddings(
            torch.nn.Embedding(len(table), shape.embedding_size, _weight=torch.from_numpy(table))
        )
        model.config.vocab_size = len(table)
        return model


def _of_size_one(vectors: Float32[ndarray, "tokens width"], data: Encoded) -> Float32[ndarray, "tokens width"]:
    """The vectors scaled so that those of the texts' tokens have numbers of size 1: rates mean the same for all
    teachers."""
    counted = np.bincount(data.ids, minlength=len(vectors))
    size = float(np.sqrt((counted @ vectors.astype(np.float64) ** 2).sum() / counted.sum() / vectors.shape[1]))
    return np.ascontiguousarray(vectors / size, np.float32)
