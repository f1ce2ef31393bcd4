"""The smallest student: a table of token vectors made of the teacher's, their mean, a small head, taught by the
teacher's answers."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from pydantic import Field, model_validator

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
from palmtop.compress.without_layers.table_student import (
    INPUTS,
    answers_of,
    check_width,
    config_of,
    labels_in,
    unasked,
)
from palmtop.compress.without_layers.token_vectors import (
    Reduced,
    by_counts,
    by_rank,
    reduced,
    states_of_tokens,
    text_scale,
    token_counts,
)
from palmtop.models.family import STATIC
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from palmtop.models.static_model import StaticForSequenceClassification


class Static(MoreTexts, GivenRates):
    """Ask the teacher for each token alone, reduce by PCA, weight by rarity; then train table and head on its answers
    and the labels."""

    produces: ClassVar[Format] = "torch"

    width: int = Field(default=256, ge=1)
    """Numbers in a token's vector; at most as many as the teacher's hidden states have. With the vocabulary it decides
    the size."""
    pooling: Literal["token", "mean"] = "token"
    """Of [CLS] token [SEP] through the teacher: the token's own last hidden state, or the mean of all."""
    weighting: Literal["counts", "rank", "none"] = "rank"
    """What a token weighs in the mean at first: a / (a + p), p its share of the training texts' tokens, or by Zipf's
    law from its id; or all alike. The weight goes into the table."""
    sif: float = Field(default=1e-4, gt=0)
    """a of the weights (Arora et al. 2017: 1e-4 to 1e-3): the smaller, the less do frequent tokens weigh."""
    head_size: int = Field(default=512, ge=0)
    """Width of the layer between the mean and the labels; 0 for none."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the mean's, and of that layer's, numbers left out in training."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets; 0 for a source that was not fine-tuned, and then the labels alone teach."""
    epochs: float = Field(default=20, gt=0, le=1000)
    """Passes over the training data."""
    batch_size: int = Field(default=128, ge=1)
    """Texts behind one optimizer step, over all processes and accumulated batches together."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """The head's highest rate; it falls linearly to 0."""
    table_rate: float = Field(default=3e-3, gt=0)
    """The table's highest rate; no weight decay, so that tokens which the training texts lack stay as the teacher has
    them."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.label_weight == 0:
            raise ValueError("soft_weight and label_weight are both 0: nothing would be learnt")
        if self.weighting == "none" and "sif" in self.model_fields_set:
            raise ValueError("sif is for weighting: counts or rank; leave one of the two out")
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and what makes more of them."""
        return task_input(self.task) | self.more_inputs()

    def outline(self, source: Outline | None) -> Outline:
        """A model without layers."""
        answers = answers_of("static", source, self.task, self.soft_weight > 0)
        assert source is not None  # it was asked for its answers
        if source.width is not None:
            check_width("width", self.width, source.width)
        self.check_more(answers.kind)
        return Outline("torch", STATIC.model_type, 0, answers.labels, self.width, self.width, 0, task=answers.kind)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the table, ask the teacher once, train, and write a Hugging Face folder that palmtop opens."""
        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        config = config_of(source)
        if self.soft_weight:
            check_labels(labels_in(config), task)
        data = self.training_data(self.rows_of(task.load("train")), source, signature, work)
        states = states_of_tokens(source, self.pooling, work.say) if self.learns else unasked(config, self.seed)
        check_width("width", self.width, states.shape[1])
        made = reduced(states, self.width)
        said = signals(source, data, Wanted(), work.say) if self.soft_weight else None
        model = self._model(self._weighted(made, data), task, signature)
        fitted = fit(
            model,
            replace(data, inputs=INPUTS, length=None),
            distillation_loss(self, task),
            self,
            work.scratch,
            said.batch if said else None,
            Special(rates={"word_embeddings": self.table_rate}),
        )
        write_classifier(
            model, source, task, signature.model_copy(update={"inputs": INPUTS, "lengths": None}), work.out
        )
        keep_logs(work)
        return (
            fitted.facts()
            | data.facts()
            | {
                "tokens": len(states),
                "tokens_trained": len(np.unique(data.ids)),
                "variance_kept": round(made.variance, 4),
                "teacher": source.digest,
            }
        )

    def _weighted(self, made: Reduced, data: Encoded) -> Float32[ndarray, "tokens width"]:
        """The vectors with their weights, scaled so that the texts' means have numbers of size 1: rates mean the same
        for all teachers."""
        tokens = len(made.vectors)
        if self.weighting == "none":
            weighted = made.vectors
        else:
            weights = (
                by_counts(token_counts(data, tokens), self.sif)
                if self.weighting == "counts"
                else by_rank(tokens, self.sif)
            )
            weighted = made.vectors * weights[:, None]
        return np.ascontiguousarray(weighted / text_scale(weighted, data), np.float32)

    def _model(
        self, table: Float32[ndarray, "tokens width"], task: Task, signature: Signature
    ) -> "StaticForSequenceClassification":
        """The student with a table of these rows and a random head."""
        import torch

        from palmtop.models.static_model import StaticConfig, StaticForSequenceClassification

        torch.manual_seed(self.seed)
        names = dict(enumerate(task.label_names))
        config = StaticConfig(
            vocab_size=1,
            hidden_size=self.width,
            head_size=self.head_size,
            dropout=self.dropout,
            max_position_embeddings=signature.max_length,
            pad_token_id=signature.pad_id,
            id2label=names,
            label2id={name: index for index, name in names.items()},
            problem_type=task.of_kind.problem_type,
        )
        model = StaticForSequenceClassification(config)  # of one row: the head's random weights are every vocabulary's
        model.word_embeddings = torch.nn.Embedding(len(table), self.width, _weight=torch.from_numpy(table))
        model.config.vocab_size = len(table)
        return model
