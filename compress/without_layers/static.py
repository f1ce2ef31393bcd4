"""The smallest student: a table of token vectors made of the teacher's, their mean, a small head, taught by the
teacher's answers."""

import json
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
from palmtop.compress.without_layers.token_vectors import (
    Reduced,
    by_counts,
    by_rank,
    reduced,
    states_of_tokens,
    text_scale,
    token_counts,
)
from palmtop.errors import UserError
from palmtop.models.family import STATIC, family_named
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input

if TYPE_CHECKING:
    from palmtop.models.static_model import StaticForSequenceClassification


INPUTS = ("input_ids", "attention_mask")
"""Of the student: it knows no kinds of token."""


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
        if source is None or (source.labels is None and self.soft_weight):
            raise UserError(
                "static needs a teacher that was fine-tuned: put a 'finetune' step before it, or set soft_weight: 0 "
                "to learn from the labels alone"
            )
        task = Task.find(self.task) if self.task is not None else None
        if task is None and source.labels is None:
            raise UserError("static needs a task: the name of a shipped one, or of a task's YAML file")
        if task is not None and source.labels is not None and self.soft_weight:
            check_labels(dict(enumerate(source.labels)), task)
        if source.width is not None:
            self._check_width(source.width)
        labels = task.label_names if task is not None else source.labels
        kind = task.kind if task is not None else source.task
        self.check_more(kind)
        return Outline("torch", STATIC.model_type, 0, labels, self.width, self.width, 0, task=kind)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the table, ask the teacher once, train, and write a Hugging Face folder that palmtop opens."""
        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
        if self.soft_weight:
            check_labels({int(index): label for index, label in config["id2label"].items()}, task)
        data = self.training_data(self.rows_of(task.load("train")), source, signature, work)
        states = states_of_tokens(source, self.pooling, work.say) if self.learns else self._unasked(config)
        self._check_width(states.shape[1])
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

    def _unasked(self, config: dict[str, Any]) -> Float32[ndarray, "tokens hidden"]:
        """Random states, as many and as wide as the teacher's would be."""
        shape = (config["vocab_size"], config[family_named(config["model_type"]).width])
        return np.random.default_rng(self.seed).standard_normal(shape, np.float32)

    def _check_width(self, hidden: int) -> None:
        if self.width > hidden:
            raise UserError(
                f"width is {self.width}, but the teacher's hidden states have {hidden} numbers: choose 1 to {hidden}"
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
