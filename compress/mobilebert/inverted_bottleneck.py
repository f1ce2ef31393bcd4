"""Make an IB-BERT, the teacher that MobileBERT wants, of any BERT or RoBERTa: its matrices inside, narrow between its
layers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import answer_terms
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.teachers import TaughtBySource, fine_tuned
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.compress.learning.training_settings import GivenRates
from palmtop.errors import UserError, raise_all
from palmtop.models.family import FAMILIES
from palmtop.models.ib_bert import KEY
from palmtop.stage import Outline, Work
from palmtop.task import Task

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from palmtop.compress.learning.training_loop import Loss
    from palmtop.compress.mobilebert.map_transfer import Transfer

PAPER_WIDTH = 512
ORDINARY = tuple(name for name, family in FAMILIES.items() if family.plain_layers)
"""Families whose layers end with a LayerNorm, whose embeddings are a sum under one, and whose attention knows no other
positions."""


class InvertedBottleneck(TaughtBySource, GivenRates):
    """Build an IB-BERT from a fine-tuned teacher's weights and principal components; distil it, layer by layer and in
    its answers.

    The paper trains its IB-BERT from scratch (500,000 steps on text) and never released it. This one starts as a near
    copy of the teacher: what is learnt is what the narrow places between the layers took away.
    """

    width: int | None = Field(default=None, ge=8)
    """Width between the layers, that of the MobileBERT to come; by default half the teacher's, 512 at most (paper: 512
    of 1,024)."""
    embedding_size: int = Field(default=128, ge=4)
    """Width of the table of token vectors; the teacher's at most."""
    heads: int | None = Field(default=None, ge=1)
    """Attention heads; by default the teacher's. The paper merges 16 into 4; fewer than the teacher's start as sums of
    its heads."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the IB-BERT while it learns; the paper's 0.1 is for its training from scratch."""
    sample: int = Field(default=2048, ge=16)
    """Texts over which principal components and the head are computed."""
    map_weight: float = Field(default=1.0, ge=0)
    """Weight of the mean squared error of the layers' outputs, normalised, in the narrow basis."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.map_weight == self.soft_weight == self.label_weight == 0:
            raise ValueError("map_weight, soft_weight and label_weight are all 0: nothing would be learnt")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """The source's depth and labels in MobileBERT's family."""
        check_teacher("inverted_bottleneck", source, self.task)
        assert source is not None
        self.check_more(source.task)
        return Outline(
            "torch",
            "mobilebert",
            source.layers,
            source.labels,
            self.width,
            self.embedding_size,
            changes=(KEY,),
            task=source.task,
        )

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Survey the teacher, build, train, and write a folder that palmtop opens (transformers alone has no such
        model)."""
        from palmtop.compress.mobilebert.ib_weights import ib_bert_from
        from palmtop.compress.mobilebert.layer_maps import Watched
        from palmtop.compress.mobilebert.narrow_embeddings import token_counts
        from palmtop.compress.mobilebert.principal_maps import aligned_bases, survey

        assert source is not None  # the driver checked `accepts`
        teaching = self.teaching(source)
        teacher = teaching.model
        width = self._width(teacher.config)
        data = self.training_data(self.rows_of(teaching.task.load("train")), source, teaching.signature, work)
        with unchanged(teacher):
            found = survey(
                Watched(teacher, normalised=True, attention=False), data, sample_of(len(data), self.sample, self.seed)
            )
            model = ib_bert_from(
                teacher,
                found,
                token_counts(data, teacher.config.vocab_size),
                width,
                self.embedding_size,
                self.heads or teacher.config.num_attention_heads,
                self.dropout,
            )
            transfer = self._transfer(model, teacher, aligned_bases(found, width))
            asked = self.ask(source, data, transfer.hidden(transfer.facing), self.epochs, work)
            fitted = fit(
                model,
                data,
                self._loss(transfer, teaching.task),
                self,
                work.scratch,
                asked.batch,
                Special(whole_table=True),
            )
        write_classifier(model, source, teaching.task, teaching.signature, work.out)
        keep_logs(work)
        return (
            fitted.facts()
            | asked.facts()
            | data.facts()
            | {
                "width": width,
                "inner_width": teacher.config.hidden_size,
                "heads": model.config.num_attention_heads,
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "teacher": source.digest,
            }
        )

    def _transfer(self, model: "PreTrainedModel", teacher: "PreTrainedModel", bases: "Sequence[Tensor]") -> "Transfer":
        from palmtop.compress.mobilebert.layer_maps import Watched
        from palmtop.compress.mobilebert.map_transfer import Attention, MapTeacher, MapWeights, Transfer, facing_layers

        layers = model.config.num_hidden_layers
        return Transfer(
            Watched(model, normalised=False, attention=False),
            MapTeacher(teacher, bases, attention=False),
            Attention("none"),
            MapWeights(self.map_weight),
            facing_layers(layers, layers),
        )

    def _loss(self, transfer: "Transfer", task: Task) -> "Loss":
        by_answers = answer_terms(self, task)

        def loss(student: Any, batch: Any) -> Any:
            seen = transfer.student(batch, student)
            return transfer.terms(seen, batch, transfer.facing) | by_answers(seen.logits, batch)

        return loss

    def _width(self, teacher: "PreTrainedConfig") -> int:
        """Raises: UserError: sizes that this teacher can't be brought to, all told together."""
        inner, heads = teacher.hidden_size, self.heads or teacher.num_attention_heads
        width = self.width or min(PAPER_WIDTH, inner // 2)
        faults = []
        if width > inner:
            faults.append(
                f"width is {width}, more than the teacher's {inner}, which is the inside of the IB-BERT: choose up to "
                f"{inner}"
            )
        if self.embedding_size > inner:
            faults.append(
                f"embedding_size is {self.embedding_size}, but the teacher's token vectors have {inner} values: "
                f"choose up to {inner}"
            )
        if inner % heads or teacher.num_attention_heads % heads:
            faults.append(
                f"heads is {heads}, but the teacher has {teacher.num_attention_heads}: choose a divisor of that"
            )
        raise_all(faults)
        return width


def check_teacher(
    stage: str, source: Outline | None, task: "str | dict[str, Any] | None", families: tuple[str, ...] = ()
) -> None:
    """Whether a teacher is fine-tuned, of a family that can be taken apart, and has the task's labels.

    Raises:
        UserError: it is not; families are named.
    """
    teacher = fine_tuned(stage, source, task)
    known = (*ORDINARY, *families)
    if teacher.family not in known:
        raise UserError(
            f"{stage} takes a teacher of the families {', '.join(known)}, but this one is '{teacher.family}': its "
            "layers or embeddings are built otherwise; distil it with 'distill' or 'minilm' instead"
        )
    if odd := [key for key in teacher.changes if key != KEY]:
        raise UserError(
            f"{stage} takes a teacher's layers as their family builds them, but this one was made smaller before (it "
            f"has {', '.join(odd)} in its config.json): take the model it was made of"
        )


def sample_of(rows: int, wanted: int, seed: int) -> list[int]:
    """Row numbers of a sample, ascending."""
    chosen = np.random.default_rng(seed).permutation(rows)[:wanted]
    return sorted(chosen.tolist())
