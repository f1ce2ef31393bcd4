"""What a stage that distils learns from besides the task's rows: texts made of them, and the task's texts without
labels. The teacher alone says what they are."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from pydantic import Field, field_validator, model_validator

from palmtop import task_kinds
from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import AnswerWeights
from palmtop.compress.distillation.augment import weights_in
from palmtop.compress.distillation.made_once import HowMade, made_once
from palmtop.compress.distillation.made_texts import Made, Rates, Way
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.copies_trial import COUNTS
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.torch_bundles import task_of
from palmtop.compress.learning.training_settings import TrainingStage
from palmtop.data.encoding import Text
from palmtop.effort import Effort
from palmtop.errors import UserError
from palmtop.settings import LATER
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Split, Task, task_input
from palmtop.unlabelled import known_texts, unlabelled

NOTHING = Made([], [], [], {})
FEWEST = 256
"""Texts that a teacher is asked at least at a time, where some may not be sure enough."""


@dataclass(frozen=True)
class MoreRows:
    """The rows of a training: the task's, and after them those that the teacher alone labels."""

    split: Split
    labelled: int | None = None
    """How many of them have labels, the first ones; None: all."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a bundle's card is to say of the others."""
    tries: Int[ndarray, " rows"] | None = None
    """As `Encoded` has them."""

    def told(self, data: Encoded) -> Encoded:
        """The same rows, tokenized, with what is known of their labels."""
        if self.labelled is None:
            return data
        labelled = np.arange(len(data)) < self.labelled
        return replace(data, labelled=labelled, besides=self.facts, tries=self.tries)


class MoreTexts(AnswerWeights, TrainingStage, ABC):
    """What is learnt from besides the task's rows. Of these texts the teacher's answers are learnt, and no label: there
    is none."""

    chooses_copies: ClassVar[bool] = False
    """Whether it grades its models on a validation split, so that it can choose how many texts are made of each."""

    augment: Annotated[tuple[Way, ...], LATER] = ()
    """How more texts are made of each training text, for the teacher to label: mask (words become the mask token), swap
    (words of the training texts stand in their place), ngrams (one to five words in a row of it), or likely (words that
    a masked language model finds likely); several by commas; none by default. Of a pair each text by itself."""
    augment_with: Annotated[str | None, LATER] = None
    """Of likely: folder of the masked language model, with its trained head, in the task's language; the model that the
    teacher was made of, where that has its head."""
    augment_copies: Annotated[Annotated[int, Field(ge=1, le=100)] | Literal["auto"], LATER] = 20
    """N: tries for each text (1 to 100); one that comes out as a text of the task, or as another one, is left out.
    auto: of 0, 2, 8 and 20 what does best on the validation split in short trainings, which cost a quarter of one."""
    augment_candidates: Annotated[int, LATER, Field(ge=1, le=1000)] = 15
    """K: most likely words that a word is replaced from."""
    augment_probability: Annotated[float, LATER, Field(gt=0, le=1)] = 0.4
    """p: probability that a word is replaced by a likely one (Jiao et al. 2020)."""
    augment_mask: Annotated[float, LATER, Field(gt=0, le=1)] = 0.1
    """Probability that a word is masked (Tang et al. 2019)."""
    augment_swap: Annotated[float, LATER, Field(gt=0, le=1)] = 0.1
    """Probability that a word is swapped (Tang et al. 2019)."""
    augment_ngrams: Annotated[float, LATER, Field(gt=0, le=1)] = 0.25
    """Probability that of a text a few words in a row are left (Tang et al. 2019)."""
    unlabelled_share: Annotated[float, LATER, Field(ge=0, lt=1)] = 0.5
    """Share of all rows that is drawn from the task's texts without labels (`unlabelled`), where it names any: so much
    of each batch, on average. All of them where they are fewer; 0: none."""
    unlabelled_confidence: Annotated[float, LATER, Field(ge=0, lt=1)] = 0.0
    """A text without a label of which the teacher is less sure than this is left out, as not of the task's kind: the
    probability of its answer; of multi_label that of its least sure label."""

    @field_validator("augment")
    @classmethod
    def _each_once(cls, value: tuple[Way, ...]) -> tuple[Way, ...]:
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _somebody_labels(self) -> Self:
        if self.augment and self.soft_weight == 0:
            raise ValueError(
                "augment makes texts that the teacher alone labels, but soft_weight is 0, so that nobody would: leave "
                "one of the two out"
            )
        if self.augment_copies == "auto" and not (self.augment and self.chooses_copies):
            raise ValueError(
                "augment_copies: auto chooses how many texts are made of each in the ways that augment names: name some"
                if self.chooses_copies
                else "augment_copies: auto is chosen on a validation split, which this stage never looks at: give a "
                "number"
            )
        if sum(asdict(replace(self.change_rates, ngrams=0.0)).values()) > 1:
            raise ValueError(
                "augment_mask, augment_swap and augment_probability, of the ways that augment names, are more than 1 "
                "together: one word has one fate; lower them"
            )
        return self

    @property
    def change_rates(self) -> Rates:
        """How often a text is changed in which of the ways that `augment` names."""
        all_rates = {
            "mask": self.augment_mask,
            "swap": self.augment_swap,
            "likely": self.augment_probability,
            "ngrams": self.augment_ngrams,
        }
        return Rates(**{way: rate for way, rate in all_rates.items() if way in self.augment})

    @property
    def copies(self) -> int:
        """Most texts that are made of each."""
        most = COUNTS[-1] if self.augment_copies == "auto" else self.augment_copies
        return most if self.augment or self.augment_with is not None else 0

    @property
    def chooses_besides(self) -> bool:
        """Whether it is chosen how many texts are made of each."""
        return self.augment_copies == "auto"

    @property
    def times(self) -> float:
        """At most how many rows are learnt from for each of the task's."""
        named = Task.find(self.task) if self.task is not None else None
        besides = self.unlabelled_share if named is not None and named.unlabelled and self.soft_weight else 0.0
        return (1 + self.copies) / (1 - besides)

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """As of so many more rows."""
        whole = super().effort(source, rows)
        return whole and replace(whole, training=whole.training * self.times, answering=whole.answering * self.times)

    def _phases(self, rows: int) -> dict[str, float]:
        return super()._phases(round(rows * self.times))

    def check_more(self, kind: str | None) -> None:
        """Whether a task of this kind can be learnt from texts that nobody but the teacher labelled.

        Raises:
            UserError: it can't.
        """
        if kind is None or not self.augment:
            return
        found = task_kinds.find(kind)
        if found.lost_with_words:
            raise UserError(
                f"augment makes texts with other words, in which {found.lost_with_words} would be lost: leave it out"
            )
        if not found.learns_unlabelled:
            raise UserError(f"augment makes texts without labels, and {kind} learns from labels alone: leave it out")

    def more_inputs(self) -> dict[str, str]:
        """sha256 of what makes these texts and of what they are, by role.

        Raises:
            UserError: `augment` and `augment_with` don't go together.
        """
        if "likely" in self.augment and self.augment_with is None:
            raise UserError(
                "augment: likely replaces words by those of a masked language model: name its folder with augment_with"
            )
        if self.augment_with is not None and "likely" not in self.augment and self._needs_likely:
            raise UserError(
                "augment_with names the model of augment: likely, which augment doesn't name: add it, or leave "
                "augment_with out"
            )
        made = {"augment_with": weights_in(Path(self.augment_with))} if self.augment_with is not None else {}
        task = Task.find(self.task) if self.task is not None else None
        if task is not None and task.unlabelled and self.unlabelled_share and self.soft_weight:
            made["unlabelled"] = unlabelled(task).digest
        looks = bool(self.augment) or "unlabelled" in made  # for texts of the validation split
        return made | (task_input(self.task, chooses=True) if looks else {})

    @property
    def _needs_likely(self) -> bool:
        """Whether `augment_with` means nothing by itself."""
        return True

    def training_data(
        self, split: Split, source: Bundle, signature: Signature, work: Work, teacher: Bundle | None = None
    ) -> Encoded:
        """The training texts, and after them those that the teacher alone labels, tokenized.

        Args:
            teacher: who labels them; the source by default.

        Raises:
            UserError: of none of the texts without labels is the teacher sure enough; or the tokenizer has no mask.
        """
        rows = self.more_rows(split, source, signature, work, teacher)
        return rows.told(Encoded.of(rows.split, source.path, signature))

    def more_rows(
        self, split: Split, source: Bundle, signature: Signature, work: Work, teacher: Bundle | None = None
    ) -> MoreRows:
        """The same before any tokenizer has read them."""
        task = task_of(source, self.task)
        if not self.learns or not (self.augment or (task.unlabelled and self.unlabelled_share)):
            return MoreRows(split)
        if not self.soft_weight:
            work.say("the task's texts without labels are left out: soft_weight is 0, so nobody would label them")
            return MoreRows(split)
        more = _More(self, task, split, source, signature, teacher or source, work)
        made, facts = more.made() if self.augment else (NOTHING, {})
        plain: list[Text] = []
        if task.unlabelled and self.unlabelled_share:
            plain, counted = more.plain(len(split) + len(made.texts))
            facts |= counted
        besides = made.texts + plain
        labels = np.concatenate([split.labels, more.filler(len(besides))])
        tries = tries_of(len(split), made.tries, len(plain), self.copies, self.unlabelled_share)
        return MoreRows(
            Split.of([*split.texts, *besides], labels), len(split), facts, tries if self.chooses_besides else None
        )


def tries_of(rows: int, made: Sequence[int], plain: int, copies: int, share: float) -> Int[ndarray, " all_rows"]:
    """What `Encoded.tries` says of so many rows of the task, of the texts made of them and of so many texts without
    labels: of these as many are learnt from as are their share, however many are made.

    Args:
        made: the number of the try that each text was made by, from 0.
        copies: most that are made of each.
    """
    others = rows + np.searchsorted(np.sort(made), np.arange(copies + 1))  # where 0, 1, ... are made of each
    first = np.searchsorted(share / (1 - share) * others, np.arange(plain), side="right")
    return np.concatenate([np.full(rows, -1), np.asarray(made, np.int64), np.minimum(first, copies) - 1])


@dataclass(frozen=True)
class _More:
    """The texts that one training has besides its rows."""

    settings: MoreTexts
    task: Task
    split: Split
    source: Bundle
    signature: Signature
    teacher: Bundle
    work: Work

    def encoded(self, texts: list[Text], labels: Any) -> Encoded:
        """Texts as the teacher reads them."""
        own = self.teacher.digest != self.source.digest
        signature = self.teacher.signature if own else self.signature
        return Encoded.of(Split.of(texts, labels), self.teacher.path, signature)

    def filler(self, rows: int) -> Any:
        """Labels of texts without any, which no loss looks at."""
        return np.zeros((rows, *self.split.labels.shape[1:]), self.split.labels.dtype)

    def made(self) -> tuple[Made, dict[str, Any]]:
        """Texts made of the training texts, and what the card says of them."""
        stage = self.settings
        asked = HowMade(
            stage.change_rates,
            stage.copies,
            stage.augment_candidates,
            stage.seed,
            self.source.path,
            stage.augment_with,
        )
        found = made_once(self.split, known_texts(self.task), asked, self.work.say)
        facts = {"made": len(found.texts), "of": len(self.split), "dropped": dict(found.dropped)}
        self.work.say(
            f"augment: {len(found.texts):,} texts made of {len(self.split):,} ({', '.join(stage.augment)}); left out: "
            + (_listed(found.dropped) or "none")
        )
        return found, {"augmented": facts}

    def plain(self, rows: int) -> tuple[list[Text], dict[str, Any]]:
        """Texts without labels, as many as are their share beside so many rows, and what the card says of them."""
        stage, found = self.settings, unlabelled(self.task)
        self.work.say(found.told)
        share = stage.unlabelled_share
        wanted = min(len(found.texts), round(share / (1 - share) * rows))
        order = np.random.default_rng(stage.seed).permutation(len(found.texts)).tolist()
        kept, unsure = self._sure([found.texts[place] for place in order], wanted)
        if unsure and not kept:
            raise UserError(
                f"of none of {unsure:,} texts without labels is the teacher {stage.unlabelled_confidence} sure: they "
                "may not be of the task's kind; lower unlabelled_confidence, or leave them out with unlabelled_share: 0"
            )
        told = f"; {unsure:,} left out, of which the teacher was not sure enough" if unsure else ""
        self.work.say(f"unlabelled: {len(kept):,} texts are learnt from{told}")
        facts = {"read": found.read, "dropped": dict(found.dropped), "unsure": unsure, "learnt": len(kept)}
        return kept, {"unlabelled": facts}

    def _sure(self, texts: Sequence[Text], wanted: int) -> tuple[list[Text], int]:
        """The first so many texts of which the teacher is sure, and of how many it wasn't."""
        least = self.settings.unlabelled_confidence
        if not least:
            return list(texts[:wanted]), 0
        kept: list[Text] = []
        asked = 0
        while len(kept) < wanted and asked < len(texts):
            some = list(texts[asked : asked + max(FEWEST, wanted - len(kept))])
            asked += len(some)
            said = signals(self.teacher, self.encoded(some, self.filler(len(some))), Wanted(), self.work.say)
            sure = self.task.of_kind.sureness(said.logits)
            if sure is None:
                raise UserError(
                    f"unlabelled_confidence is {least:g}, but an answer of {self.task.kind} has no probability: leave "
                    "it out"
                )
            kept += [text for text, one in zip(some, sure.tolist(), strict=True) if one >= least]
        return kept[:wanted], asked - len(kept)


def _listed(dropped: Mapping[str, int]) -> str:
    words = {
        "evaluation": "texts of the evaluation split",
        "validation": "texts of the validation split",
        "train": "training texts",
        "repeated": "made before",
    }
    return ", ".join(f"{count:,} {words[reason]}" for reason, count in dropped.items())
