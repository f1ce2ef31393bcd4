"""Distil a decoder on plain text into one with fewer layers (DistilGPT2: the causal form of Sanh et al. 2019)."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.guards import unchanged
from palmtop.compress.language_models.corpus import Corpus
from palmtop.compress.language_models.text_settings import OnTextByTeacher, write_language_model
from palmtop.compress.learning.fit import keep_logs
from palmtop.compress.learning.torch_bundles import shortened
from palmtop.errors import UserError
from palmtop.families.family import Kind
from palmtop.models.family import inputs_of
from palmtop.models.opening import keep_layers
from palmtop.processes import rank
from palmtop.signature import Signature
from palmtop.stage import Outline, Work, outline_of

if TYPE_CHECKING:
    from palmtop.compress.language_models.teacher_words import TeacherWords
    from palmtop.compress.language_models.text_learning import LearntText


class DistillCausal(OnTextByTeacher):
    """Copy some of a decoder's layers; learn each next word, its soft targets over the vocabulary, and its last hidden
    states."""

    produces: ClassVar[Format] = "torch"
    takes: ClassVar[frozenset[Kind]] = frozenset({"decoder"})

    clm_weight: float = Field(default=2.0, ge=0)
    """Weight of the next words themselves."""
    keep_answers: bool = False
    """Compute the teacher's answers once and keep them on disk; otherwise it answers at each step."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if self.soft_weight == self.clm_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, clm_weight and cosine_weight are all 0: nothing would be learnt")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """The teacher with fewer layers."""
        if source is None or source.layers is None:
            raise UserError("distill_causal needs a decoder to start from: put an 'adopt' step before it")
        layers = len(self._layers(source.layers))
        return replace(source, layers=layers, layer_sets=layers)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Make the student, train, and write a Hugging Face folder that AutoModelForCausalLM opens."""
        from palmtop.compress.language_models.text_learning import learn, told_of
        from palmtop.compress.language_models.word_losses import Weights, language_loss
        from palmtop.models.language_model import Answering, Asked, open_language_model

        assert source is not None  # the driver checked `accepts`
        signature, layers = shortened(source, self.max_length), self._layers(outline_of(source).layers or 0)
        teacher = open_language_model(source.path, "causal").model
        student = keep_layers(teacher, layers)
        text = self._text(source, signature)
        said = self._answers(source, text, work.say) if self.keep_answers else None
        weights = Weights(self.clm_weight, self.soft_weight, self.cosine_weight, 0.0, self.temperature, False)
        answering = Answering(teacher)
        loss = language_loss(weights, Asked(student), inputs_of(student.config.to_dict()), answering)
        with unchanged(teacher):
            facts = told_of(answering, teacher, text, self.batch_size, work.say)
            facts |= learn(student, text, loss, self, work.scratch, said=said)
        write_language_model(student, source, signature, work.out)
        if source.task is not None and rank() == 0:
            source.task.write(work.out)  # of a decoder that writes: it still does, and is measured on the task's texts
        keep_logs(work)
        return facts | {"layers_copied": layers}

    def _layers(self, available: int) -> list[int]:
        return self.chosen(available, max(1, available // 2))

    def _text(self, source: Bundle, signature: Signature) -> "LearntText":
        """Sequences without special tokens around them, each position asked for the next."""
        from palmtop.compress.language_models.next_token_targets import NextWords
        from palmtop.compress.language_models.sequences import sequences
        from palmtop.compress.language_models.text_learning import LearntText, parted

        data, counts = sequences(Corpus.find(self.text).documents(), source.path, signature, wrapped=False)
        learnt, apart = parted(data, self.held_out, self.seed)
        measured = (apart, NextWords(apart, self.batch_size)) if apart else None
        return LearntText(learnt, NextWords(learnt, self.batch_size), measured, counts)

    def _answers(self, teacher: Bundle, text: "LearntText", say: Callable[[str], None]) -> "TeacherWords":
        from palmtop.compress.language_models.teacher_words import WantedWords, words

        return words(
            teacher,
            text.targets,
            WantedWords("causal", self.top, self.temperature, False, self.cosine_weight > 0),
            say,
        )
