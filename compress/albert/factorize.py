"""Factorize the word embedding of a trained model: V x H becomes V x E and E x H, as ALBERT has it (Lan et al.
2019)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format, sha256_of
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import GivenRates, TrainingStage
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import FAMILIES, family_named
from palmtop.models.opening import open_with_head
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Split, Task, task_input
from palmtop.task_kinds import find

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.albert.embedding_fit import EmbeddingOutput
    from palmtop.compress.albert.table_factors import Decomposition
    from palmtop.compress.learning.training_loop import Batch, Loss

PAPERS_SIZE = 128
"""E of all of the paper's models."""
HELD_OUT, MOST_HELD_OUT = 10, 500
"""Every so manieth text, and so many at most, is kept from the fit and measures it."""
FACTORIZED = tuple(name for name, family in FAMILIES.items() if family.narrow_table)
"""Families whose word embedding is narrower than the model already."""
Form = Literal["albert", "keep_norm"]

CLASSIFIER = "ForSequenceClassification"
"""The head that ALBERT's class has here."""


class Factorize(TrainingStage, GivenRates):
    """Truncated SVD of the table, weighed by how frequent tokens are; then the embeddings alone are fitted to the
    source's own.

    No encoder runs. What is lost is won back by a distillation from the source after it.
    """

    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"

    form: Form = "albert"
    """albert: the norm on the narrow side, x = M LN(W'[t] + P'[i] + S'[k]) + b, never exact, opens with AutoModel
    everywhere; keep_norm: the source's norm stays behind, x = LN(M W'[t] + m + P[i] + S[k]), exact but for the table,
    opens with palmtop only."""
    embedding_size: int | None = Field(default=None, ge=1)
    """E, the table's new width; by default the paper's 128, unless kept_energy chooses."""
    kept_energy: float | None = Field(default=None, gt=0, le=1)
    """Choose the least E, a multiple of 8, that keeps so large a share of the table's (weighted) squared distances from
    its mean."""
    weighting: Literal["frequency", "none"] = "frequency"
    """How heavy a token's row is in the SVD: as often as the texts have it (at least 1), or all alike."""
    texts: str | None = None
    """A text file, a text in each line, to count tokens in and fit to; by default the task's training texts."""
    fit_output: bool = True
    """Fit the embeddings to the source's normed embedding output, squared error, for `epochs` over the texts."""
    epochs: float = Field(default=1, gt=0, le=1000)
    """Passes over the texts in the fit."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """AdamW's highest rate in the fit; it falls linearly to 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """On all weights but biases and norms; rows of tokens that the texts don't have would fade by it."""

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if self.embedding_size is not None and self.kept_energy is not None:
            raise ValueError("embedding_size and kept_energy both choose the table's width: give one of them")
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and the text file."""
        return task_input(self.task) | ({"texts": sha256_of(self._text_file())} if self.texts is not None else {})

    def outline(self, source: Outline | None) -> Outline:
        """A classifier of the form's family."""
        if source is None or source.labels is None or source.family is None:
            raise UserError("factorize needs a model with a task's head: put a 'finetune' step before it")
        kind = find(source.task) if source.task is not None else None
        if self.form != "keep_norm" and kind is not None and kind.architecture != CLASSIFIER:
            raise UserError(
                f"form albert gives a model that answers for a whole text, and this one is to {kind.token_work}: take "
                "form: keep_norm"
            )
        self._check_family(source.family)
        self._check_changes(source.changes)
        if source.width is not None:
            self._check_width(source.family, source.width, source.embedding_width or source.width)
        changes = source.changes if self.form != "keep_norm" else (*source.changes, "palmtop_embedding_size")
        return replace(source, family=self._family(source.family), embedding_width=None, changes=changes)

    def unpriced(self) -> str | None:
        """kept_energy asks the table itself."""
        if self.kept_energy is None:
            return None
        return "kept_energy chooses the table's width by what the table holds once it is trained: give embedding_size"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Decompose, build, fit, measure, and write a Hugging Face folder."""
        from palmtop.compress.albert.embedding_fit import EmbeddingOutput, output_error, solve_mapping
        from palmtop.compress.albert.factorized_model import build
        from palmtop.compress.learning.dropout import without_dropout

        assert source is not None  # the driver checked `accepts`
        task, signature, model = (
            task_of(source, self.task),
            shortened(source, self.max_length),
            open_with_head(source.path),
        )
        table = self._table(model)
        data, held = self._texts(task, source, signature)
        counts = np.bincount(np.concatenate([data.ids, held.ids]), minlength=len(table)).astype(np.float64)
        found, size = self._decomposed(table, counts)
        factors = found.factors(size)
        made = build(model, factors, self.form)
        student, teacher = EmbeddingOutput(made), EmbeddingOutput(model)
        if student.is_mapped:
            solve_mapping(student, teacher, data)
        before = output_error(student, teacher, held)
        facts = {
            "form": self.form,
            "embedding_size": size,
            "kept_energy": round(factors.energy, 6),
            **_errors(table, factors, counts),
            "output_error_before_fit": before,
            "texts": len(data),
            "held_out_texts": len(held),
            "tokens_in_texts": int((counts > 0).sum()),
            **_sizes(model, made),
        }
        normed = family_named(model.config.model_type).normed_embeddings
        if self.fit_output and not normed:
            work.say("no norm stands behind the embeddings, so the SVD is their nearest already: nothing is fitted")
        if self.fit_output and normed:
            without_dropout(student)
            fitted = fit(student, data, _fit_loss(teacher, data), self, work.scratch, special=Special(whole_table=True))
            facts |= {"output_error_after_fit": output_error(student.cpu(), teacher.cpu(), held)} | fitted.facts()
        write_classifier(made, source, task, signature, work.out)
        keep_logs(work)
        return facts

    def _table(self, model: "PreTrainedModel") -> Any:
        """The source's word embedding, [tokens, width].

        Raises:
            UserError: its width, or what was done to it, is against this form.
        """
        from palmtop.models.reshaped import changed

        config, table = model.config.to_dict(), model.get_input_embeddings().weight.detach().numpy()
        self._check_width(
            config["model_type"], model.config.hidden_size, config.get("palmtop_embedding_size") or table.shape[1]
        )
        self._check_changes(changed(config))
        return table

    def _texts(self, task: Task, source: Bundle, signature: Signature) -> tuple[Encoded, Encoded]:
        """Those to fit to, and those held out."""
        split = self.rows_of(_lines(self._text_file()) if self.texts is not None else task.load("train"))
        rows = np.arange(len(split))
        held = rows[::HELD_OUT][:MOST_HELD_OUT]
        kept = np.setdiff1d(rows, held) if len(rows) > len(held) else rows
        return Encoded.of(split.take(kept), source.path, signature), Encoded.of(
            split.take(held), source.path, signature
        )

    def _text_file(self) -> Path:
        path = Path(self.texts or "").expanduser()
        if not path.is_file():
            raise UserError(
                f"texts: there is no file {path}: give a text file with a text in each line, or leave it out"
            )
        return path

    def _decomposed(self, table: Any, counts: Any) -> "tuple[Decomposition, int]":
        """The table's decomposition, and E."""
        from palmtop.compress.albert.table_factors import Decomposition

        found = Decomposition(table, np.maximum(counts, 1) if self.weighting == "frequency" else np.ones_like(counts))
        if self.kept_energy is None:
            return found, self.embedding_size or PAPERS_SIZE
        size, width = found.size_for(self.kept_energy), table.shape[1]
        if size >= width:
            raise UserError(
                f"kept_energy {self.kept_energy} needs all {width} columns of the table: there is nothing to "
                "factorize; choose less"
            )
        return found, size

    def _check_family(self, family: str) -> None:
        from palmtop.compress.albert.as_albert import REASONS
        from palmtop.compress.albert.factorized_model import NARROW_NORM

        if family in FACTORIZED:
            raise UserError(
                f"the embeddings of the family '{family}' are factorized already: factorize is for those as wide as "
                "the model"
            )
        if self.form != "keep_norm" and family not in NARROW_NORM:
            raise UserError(
                f"form albert isn't for the family '{family}' ({REASONS[family]}); it is for "
                f"{', '.join(NARROW_NORM)}: take form: keep_norm"
            )

    def _check_changes(self, changes: Sequence[str]) -> None:
        if changes and self.form != "keep_norm":
            raise UserError(
                f"form albert: the source has {', '.join(changes)} in its config.json, which ALBERT's class can't "
                "express: factorize before you prune or share, or take form: keep_norm"
            )

    def _check_width(self, family: str, width: int, table: int) -> None:
        if table != width:
            raise UserError(
                f"this {family} model's embeddings are factorized already: its table is {table} wide, the model {width}"
            )
        size = PAPERS_SIZE if self.kept_energy is None and self.embedding_size is None else self.embedding_size
        if size is not None and size >= width:
            raise UserError(
                f"embedding_size is {size}, but the model is {width} wide: V x E and E x H are smaller than V x H for "
                f"E below {width} only; choose less, such as {max(1, width // 3)}"
            )

    def _family(self, family: str) -> str:
        from palmtop.compress.albert.as_albert import SOURCES

        return "albert" if self.form != "keep_norm" and family in SOURCES else family


def _lines(path: Path) -> Split:
    """The lines of a text file that are not empty, without labels."""
    texts = [(line.strip(),) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise UserError(f"texts: {path} has no lines: give a text file with a text in each line")
    return Split(list(texts), np.zeros(len(texts), np.int64), sha256_of(path))


def _fit_loss(teacher: "EmbeddingOutput", data: Encoded) -> "Loss":
    """Squared error of a text's embeddings, mean over its real tokens, as a share of what the source's vary."""
    from palmtop.compress.albert.embedding_fit import inputs_of, output_variance

    variance = output_variance(teacher, data)

    def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
        import torch

        given, mask = inputs_of(batch), batch["attention_mask"]
        with torch.no_grad():
            wanted = teacher.eval().to(mask.device)(**given)
        error = ((student(**given).float() - wanted) ** 2).sum(-1) / variance
        return {"embedding": (error * mask).sum(-1) / mask.sum(-1)}

    return loss


def _errors(table: Any, factors: Any, counts: Any) -> dict[str, float]:
    """Of the table alone: weighed by the tokens' counts, and plain."""
    from palmtop.compress.albert.table_factors import relative_error

    found = factors.table()
    return {
        "table_error_weighted": relative_error(table, found, np.maximum(counts, 1)),
        "table_error": relative_error(table, found, np.ones_like(counts)),
    }


def _sizes(model: "PreTrainedModel", made: "PreTrainedModel") -> dict[str, int]:
    """Parameters, four bytes each."""
    before, after = (sum(parameter.numel() for parameter in one.parameters()) for one in (model, made))
    return {"parameters_before": before, "parameters": after, "bytes_before": 4 * before, "bytes": 4 * after}
