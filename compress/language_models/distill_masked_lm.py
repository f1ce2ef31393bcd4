"""Distil a masked language model on plain text into one with fewer layers (DistilBERT's pre-training form, Sanh et al.
2019).

The weights 5, 2, 1 are those of the reference code's README for one GPU; its command for four has 0.33 each, its parser
other ones, and the paper (1910.01108) gives none. The optimizer's moments are AdamW's usual ones (the code: betas 0.9
and 0.98, epsilon 1e-6).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.distillation.teachers import check_same_width, named_teacher, teacher_input
from palmtop.compress.language_models.text_settings import OnMaskedText, OnTextByTeacher, write_language_model
from palmtop.compress.learning.fit import keep_logs
from palmtop.compress.learning.torch_bundles import shortened
from palmtop.errors import UserError
from palmtop.models.family import check_kept, family_named, inputs_of
from palmtop.models.opening import keep_layers
from palmtop.stage import Outline, Work, outline_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from palmtop.compress.language_models.teacher_words import TeacherWords
    from palmtop.compress.language_models.text_learning import LearntText
    from palmtop.compress.language_models.word_losses import Weights
    from palmtop.models.language_model import Opened


class DistillMaskedLm(OnTextByTeacher, OnMaskedText):
    """Copy some of a masked language model's layers; learn hidden words, its soft targets over all words, and its last
    hidden states."""

    produces: ClassVar[Format] = "torch"

    teacher: str | None = None
    """Folder of another torch bundle with the same tokenizer: it teaches the source, all its layers; by default the
    source teaches."""
    as_distilbert: bool = True
    """A BERT's student becomes a DistilBERT, without token types and pooler; otherwise it stays a BERT. Other families
    keep their class."""
    mlm_weight: float = Field(default=2.0, ge=0)
    """Weight of the hidden words themselves."""
    soft_positions: Literal["all", "masked"] = "all"
    """Where soft targets are learnt: at every real position, or only where words are hidden, a fraction of the work and
    of the memory (the logits of 4,096 positions of BERT's vocabulary take 0.5 GB, some four times over)."""
    masks: Literal["fresh", "fixed"] = "fresh"
    """Fresh in each epoch, the teacher answering at each step; or drawn once, and its answers computed once and kept on
    disk."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.mlm_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, mlm_weight and cosine_weight are all 0: nothing would be learnt")
        return self

    def inputs(self) -> dict[str, str]:
        """The text, and the teacher where it is named here."""
        return super().inputs() | teacher_input(self.teacher)

    def outline(self, source: Outline | None) -> Outline:
        """The student: fewer layers, perhaps another family."""
        from palmtop.compress.language_models.masked_text import kind_of_model

        if source is None or source.layers is None or source.family is None:
            raise UserError(
                "distill_masked_lm needs a masked language model to start from: put an 'adopt' step before it"
            )
        if source.labels is not None:
            raise UserError(
                "distill_masked_lm needs a masked language model, but its source was fine-tuned and has a classifier "
                "instead: start from what it was before, or put a 'masked_lm' step between"
            )
        family = self._becomes(source.family) or source.family
        kind_of_model(self, family)
        chosen = self._layers(source.layers)
        check_kept(source.family, chosen)
        layers = len(chosen)
        return replace(
            source, family=family, layers=layers, layer_sets=layers if source.layer_sets == source.layers else None
        )

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the student, train, and write a Hugging Face folder that AutoModelForMaskedLM opens."""
        from palmtop.compress.language_models.masked_text import dropping, masked_text
        from palmtop.compress.language_models.text_learning import learn, told_of
        from palmtop.compress.language_models.word_losses import language_loss
        from palmtop.models.language_model import Answering, Asked, open_language_model

        assert source is not None  # the driver checked `accepts`
        signature, teacher = (
            shortened(source, self.max_length),
            named_teacher(self.teacher, source) if self.teacher else source,
        )
        student, layers = self._student(source)
        taught = open_language_model(teacher.path).model
        if self.teacher:
            self._check_teacher(teacher, source, taught.config, student.model.config)
        dropout = dropping(self, student.model)
        text = masked_text(self, source, signature, fixed=self.masks == "fixed")
        said = self._answers(teacher, text, work.say) if self.masks == "fixed" else None
        answering = Answering(taught)
        loss = language_loss(
            self._weights(), Asked(student.model), inputs_of(student.model.config.to_dict()), answering
        )
        with unchanged(taught):
            facts = told_of(answering, taught, text, self.batch_size, work.say)
            facts |= learn(student.model, text, loss, self, work.scratch, student.new, said)
        write_language_model(student.model, source, signature, work.out)
        keep_logs(work)
        return facts | {
            "layers_copied": layers,
            "family": student.model.config.model_type,
            "teacher": teacher.digest,
            "dropout": dropout,
        }

    def _becomes(self, family: str | None) -> str | None:
        """The family of the student where it isn't the source's own."""
        return family_named(family).text_student if self.as_distilbert and self.teacher is None else None

    def _layers(self, available: int) -> list[int]:
        return self.chosen(available, available if self.teacher is not None else max(1, available // 2))

    def _student(self, source: Bundle) -> "tuple[Opened, list[int]]":
        """The source with fewer layers, and the top modules of its head that are new; and which layers."""
        import torch

        from palmtop.compress.language_models.distilbert_body import as_distilbert
        from palmtop.compress.language_models.masked_text import kind_of_model
        from palmtop.models.language_model import Opened, head_parts, open_language_model

        found = outline_of(source)
        layers = self._layers(found.layers or 0)
        torch.manual_seed(self.seed)  # a new head for the order of sentences
        becomes = self._becomes(found.family)
        opened = open_language_model(source.path, kind_of_model(self, becomes or found.family))
        student = keep_layers(opened.model, layers)
        return Opened(as_distilbert(student) if becomes else student, head_parts(opened.new)), layers

    def _check_teacher(
        self, teacher: Bundle, source: Bundle, taught: "PreTrainedConfig", student: "PreTrainedConfig"
    ) -> None:
        """Raises: UserError: a teacher from which this source can't learn."""
        if taught.vocab_size != student.vocab_size:
            raise UserError(
                f"the teacher {teacher.name} has outputs for {taught.vocab_size} tokens, {source.name} for "
                f"{student.vocab_size}: take a student with its teacher's own vocabulary"
            )
        if self.cosine_weight:
            check_same_width(student, taught)

    def _weights(self) -> "Weights":
        from palmtop.compress.language_models.word_losses import Weights

        return Weights(
            self.mlm_weight,
            self.soft_weight,
            self.cosine_weight,
            self.sentence_order_weight,
            self.temperature,
            self.soft_positions == "all",
        )

    def _answers(self, teacher: Bundle, text: "LearntText", say: Callable[[str], None]) -> "TeacherWords":
        from palmtop.compress.language_models.teacher_words import WantedWords, words

        everywhere = self.soft_weight > 0 and self.soft_positions == "all"
        return words(
            teacher,
            text.targets,
            WantedWords("masked", self.top, self.temperature, everywhere, self.cosine_weight > 0),
            say,
        )
