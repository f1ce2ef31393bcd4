"""TaskKind: all that differs between kinds of tasks, from a column of labels to what an app is told."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, Self

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table
from palmtop.errors import UserError, clipped
from palmtop.families.family import Kind
from palmtop.metrics import Score, bootstrapped, bootstrapped_mean, faults_of
from palmtop.settings import Settings, build
from palmtop.signature import Signature
from palmtop.task_kinds.answer import Answer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

Labels = Num[ndarray, "rows ..."]

IGNORED = -100
"""The label of a token that has none, as torch's cross-entropy skips it."""


class Definition(Protocol):
    """What a kind reads of a task."""

    name: str
    label: str
    labels: tuple[str, ...] | dict[str, str] | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The model's outputs."""

    @property
    def main_metric(self) -> str:
        """The metric that decides."""


@dataclass(frozen=True)
class Differences:
    """How far some answers are from those that are right, in the unit of their spread."""

    by_text: Float[ndarray, " texts"]
    """The largest difference of each text."""
    typical: float
    """Root mean square of all differences."""
    agreement: float
    """Share of texts with the same first answer."""


class TaskKind(ABC):
    """A kind of task. One object of it serves all tasks of the kind: it keeps nothing but what a task settles with
    `options`."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    """Its metrics; by default the first decides."""
    times: ClassVar[tuple[str, ...]] = ()
    """Metrics of speed that its models have besides the usual ones."""
    architecture: ClassVar[str]
    """How the name of transformers' class with such a head ends: 'ForSequenceClassification'."""
    problem_type: ClassVar[str | None] = None
    """transformers' word for the head's loss, in config.json."""
    has_labels: ClassVar[bool]
    """Whether its answers go by the names of labels, which labels.txt lists."""
    output: ClassVar[str] = "logits"
    """What signature.json says of a model's outputs."""
    probabilities: ClassVar[str | None] = None
    """What it says where the file itself makes probabilities of them; None: no file can."""
    no_probabilities: ClassVar[str] = ""
    """Why not."""
    outputs: ClassVar[tuple[str, ...]] = ()
    """The words of signature.json by which a model without a task is known to be of this kind."""
    per_token: ClassVar[bool] = False
    """Whether there is an answer for every token, not for every text."""
    texts_have: ClassVar[str] = "one label each"
    """How many labels a text has, for messages."""
    lost_with_words: ClassVar[str | None] = None
    """What of a text's labels is lost when words of the text are replaced by others."""
    learns_unlabelled: ClassVar[bool] = False
    """Whether a text without a label can be learnt from by a teacher's answer alone."""
    token_work: ClassVar[str] = ""
    """What is done with tokens: 'find an answer'."""
    transformers: ClassVar[frozenset[Kind]] = frozenset({"encoder"})
    """Kinds of transformers that have such a head."""
    writes: ClassVar[bool] = False
    """Whether its models go on from a text, token by token (`palmtop.writer`), in place of answering it."""
    head: ClassVar[Literal["new_head", "span_head", "token_head", "word_head"]] = "new_head"
    """Which fact of a family names the modules that a task trains anew."""
    stages: ClassVar[frozenset[str] | None] = None
    """The stages that work for it; None: all that `refuses` doesn't name."""
    refuses: ClassVar[Mapping[str, str]] = {}
    """Stages that can't, and why."""
    page: ClassVar[bool] = True
    """Whether the web page of an app can show its answers."""
    phone: ClassVar[bool] = False
    """Whether the Android app (android_demo) knows it: its core has a file that makes answers of its outputs."""
    react_native: ClassVar[bool] = False
    """Whether the React Native code (export/react_native) knows it: its reader makes answers of its outputs."""
    task_client: ClassVar[Literal["classifier", "question_answerer", "embedder"] | None] = None
    """Which of Google's Task clients asks such a model."""
    no_task_client: ClassVar[str] = ""
    """Why none of them does."""
    pipeline: ClassVar[str | None] = None
    """The pipeline of transformers.js that asks such a model; None: none that a folder is written for."""
    options: ClassVar[type[Settings] | None] = None
    """What a task of this kind may settle besides, under `options`; such a kind is made of them."""

    def settled_by(self, options: Mapping[str, Any] | None) -> Self:
        """The kind as a task settles it: made anew of the task's options, where it has some.

        Raises:
            ValueError: it has no such options, with every fault.
        """
        if options is None:
            return self
        if self.options is None:
            raise ValueError(f"{self.name} has no options; remove 'options'")
        try:
            return type(self)(build(self.options, options, "options"))  # type: ignore[call-arg]  # of kinds with options
        except UserError as error:
            raise ValueError("; ".join(error.faults)) from None

    def signed(self, signature: Signature, folder: Path) -> Signature:
        """The signature of a model that learns such a task, before anything is chosen by what it answers.

        Args:
            folder: of the model, with its config.json and its tokenizer.

        Raises:
            UserError: it hasn't what the task's options name.
        """
        return signature.model_copy(update={"output": self.output})

    def as_signed(self, signature: Signature) -> "TaskKind":
        """The kind as a model's signature settles it, which says how texts are encoded."""
        return self

    @property
    def settles(self) -> bool:
        """Whether `settled` has something to choose when a training is over."""
        return False

    @property
    def has_floor(self) -> bool:
        """Whether a linear model on the same data can be its floor."""
        return self.works("tfidf")

    def works(self, stage: str) -> bool:
        """Whether a stage works for it."""
        return stage not in self.refuses and (self.stages is None or stage in self.stages)

    # -- the task --

    label_optional: ClassVar[bool] = False
    """Whether rows may be without a label: a task needn't name its column then."""

    def decides(self, task: Definition) -> str:
        """The metric that decides where the task names none."""
        return self.metrics[0]

    def in_config(self, written: Mapping[str, Any]) -> dict[str, Any]:
        """What a model's config.json says of a head that has no weights: palmtop's own keys.

        Args:
            written: what it says already.
        """
        return {}

    one_label: ClassVar[bool] = False
    """Whether a row's label is one word, of which there are few: a part of the rows can have its share of each."""

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Whether rows can only be meant for such a task, or, of a column of single words, most likely are.

        Args:
            texts: the fields of the (first) text column.
            labels: those of the label column.
        """
        return False

    def text(self, value: Any) -> str:
        """A field of a text column as a text; nothing where it is empty.

        Raises:
            ValueError: it can't be one.
        """
        if isinstance(value, list | tuple | dict):
            what = "an object" if isinstance(value, dict) else "a list"
            raise ValueError(f"{clipped(value)} is {what}, no text: write the text itself")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'{value} is no text: write the text, or an empty one ("") where there is none')
        return "" if value is None else str(value)

    def check_definition(self, task: Definition) -> None:
        """Raises: ValueError: the task's columns or labels aren't such a task's."""
        if task.labels is not None and not self.has_labels:
            raise ValueError(f"{self.name} has no labels; remove 'labels'")

    @abstractmethod
    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The model's outputs in their order.

        Args:
            train: reads the training data.
        """

    @abstractmethod
    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """The labels of some rows as numbers.

        Args:
            values: the label column, a value for each text.

        Raises:
            UserError: rows without a label, or with one that can't be read, by number.
        """

    def reads(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The columns of a task's texts that a model is given when it is asked."""
        return columns

    def doubts(self, task: Definition, labels: Mapping[str, Labels]) -> list[str]:
        """What may not be meant of the labels of each split, by name: a line each; nothing by default."""
        return []

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: all training rows have the same label."""
        if len(np.unique(labels)) <= 1:
            raise UserError(
                f"{where}: all {len(labels)} rows have {self._only(task, labels)}: there is nothing to learn; check "
                f"the column '{task.label}'"
            )

    def strata(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """A number for each row; a sample has the same share of each. None: a sample is drawn from all rows alike."""
        return None

    def describe(self, task: Definition) -> str:
        """What an app's manifest says of the answers: '150 labels'."""
        return f"{len(task.label_names)} labels"

    def _only(self, task: Definition, labels: Labels) -> str:
        return "one value only"

    # -- texts --

    apart: ClassVar[bool] = False
    """Whether each text of a row goes through the model by itself, so that a row of two gives two encodings and two
    answers, one after the other; otherwise a row is one sequence, and a pair is joined in it."""
    head_reads_mask: ClassVar[bool] = False
    """Whether the head looks at which tokens are real, so that an exported graph shows it the plain mask."""

    def sequences(self, texts: Sequence[Text]) -> list[tuple[Text, int]]:
        """What is encoded each by itself, in order, with its place in its row."""
        if not self.apart:
            return [(text, 0) for text in texts]
        return [((side,), place) for text in texts for place, side in enumerate(text)]

    asks_a_context: ClassVar[bool] = False
    """Whether a row is a question and its context, of which the context alone is cut."""
    least_tokens: ClassVar[int] = 0
    """Fewer hold no such text."""
    text_is: ClassVar[str] = "a text"

    def check_length(self, tokens: int) -> None:
        """Raises: UserError: so few tokens hold no such text."""
        if tokens < self.least_tokens:
            raise UserError(f"{tokens} tokens don't hold {self.text_is}: give at least {self.least_tokens}")

    def encode(self, tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int) -> list[Encoding]:
        """Texts as token ids, cut at `max_length`; the tokenizer pads nothing."""
        tokenizer.enable_truncation(max_length=max_length)
        asked = self.sequences(texts)
        rows = tokenizer.encode_batch([text[0] if len(text) == 1 else text for text, _ in asked])
        return [
            Encoding(
                text,
                np.asarray(row.ids, np.int32),
                np.asarray(row.type_ids, np.int32),
                bool(row.overflowing),
                part=part,
            )
            for (text, part), row in zip(asked, rows, strict=True)
        ]

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """The rows that can be learnt from, and their labels as a loss takes them: one a text, or, where the kind is
        `per_token`, as `token_labels` gives them.

        Raises:
            UserError: none can.
        """
        return encodings, labels

    labels_per_token: ClassVar[bool] = False
    """Whether `trained` gives a label for every token, not for every text."""
    cut_rows_are_left_out: ClassVar[bool] = False
    """Whether `trained` leaves rows out."""

    # -- losses --

    @abstractmethod
    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """The loss of each text by its labels, [batch]."""

    @abstractmethod
    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """The loss of each text by a teacher's outputs, [batch].

        Args:
            mask: [batch, tokens], 1 where a token is real.
        """

    @abstractmethod
    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """The loss of each text by labels drawn from the outputs themselves, [batch]: the mean of its gradients' outer
        products is the Fisher information."""

    def sureness(self, outputs: Float32[ndarray, "texts outputs"]) -> Float[ndarray, " texts"] | None:
        """How sure each answer is, from 0 to 1, by a model's outputs; None where they make no probabilities."""
        return None

    def learnt_by(self, labels: Labels) -> str | None:
        """Which loss labels are learnt by, where the kind has several.

        Args:
            labels: as `trained` gives them.
        """
        return None

    def compared_in_batch(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """A class for each row, where a loss compares the rows of a batch by it, so that a batch is to have several of
        each; None: batches are of rows of similar length.

        Args:
            labels: as `trained` gives them.
        """
        return None

    def width(self, config: Any) -> int:
        """How many numbers an answer has, or that of a token, by a model's config."""
        return int(config.num_labels)

    def by_token(self, outputs: "Tensor") -> "Tensor":
        """What a head gives, with an axis of tokens after that of texts; and back again."""
        return outputs

    filler: ClassVar[float] = 0.0
    """Stands in a teacher's outputs where there is no token."""

    def settled(
        self,
        outputs: Float32[ndarray, "texts ..."],
        labels: Labels,
        signature: Signature,
        encodings: Sequence[Encoding] = (),
    ) -> Signature:
        """The signature with what is chosen by a trained model's outputs on the validation split, `encodings`."""
        return signature

    # -- answers --

    output_names: ClassVar[tuple[str, ...]] = ("logits",)
    """What an exported graph calls its outputs, in their order."""
    names_outputs: ClassVar[bool] = True
    """Whether each output goes by one of `label_names`."""

    def graph_outputs(self, answer: Any, probabilities: bool) -> "Tensor | dict[str, Tensor]":
        """What an exported graph gives of what a head answers."""
        logits: Tensor = answer.logits
        return self.as_probabilities(logits) if probabilities else logits

    def as_probabilities(self, logits: "Tensor") -> "Tensor":
        """Probabilities of logits, in torch."""
        raise NotImplementedError(f"{self.name} has no probabilities")

    def condensed(self, outputs: "Tensor", ids: "Tensor") -> "Tensor":
        """What is kept of a head's outputs for a batch, [batch, ...], where all of them would fill the memory.

        Args:
            ids: [batch, tokens], what the model read.
        """
        return outputs

    def from_runtime(self, outputs: Mapping[str, ndarray], rows: int, length: int) -> Float32[ndarray, "rows ..."]:
        """What a runtime gives for a padded batch, by the names of the outputs, as one array, [rows, outputs] or
        [rows, ..., length, ...]."""
        return np.asarray(next(iter(outputs.values())), np.float32).reshape(rows, -1)

    def joined(
        self, rows: Sequence[Float32[ndarray, "..."]], encodings: Sequence[Encoding]
    ) -> Float32[ndarray, "texts ..."]:
        """The answers to texts that were padded each to a length of its own, as one array."""
        return np.stack(rows)

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """What is kept of a runner's outputs: all that metrics and agreement look at.

        Args:
            signature: of the artefact; None where it has none, as a linear model.
        """
        return outputs

    def graded(
        self,
        answers: Float32[ndarray, "texts answers"],
        labels: Labels,
        texts: Sequence[Text],
        label_names: Sequence[str],
    ) -> Float[ndarray, "texts marks"]:
        """What metrics are computed of: the answers, or the marks that each of them gets."""
        return answers

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """What a metric looks at, computed once for all resamples: class numbers, marks, values."""
        return graded

    def marks(self, label_names: Sequence[str]) -> int:
        """How many numbers `graded` gives for a text."""
        return len(label_names)

    @abstractmethod
    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """A metric of what it looks at; NaN where it isn't defined.

        Args:
            outputs: how many the model has.
        """

    def by_text(
        self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels
    ) -> Float[ndarray, " texts"] | None:
        """Each text's part of a metric that is their mean; None of any other metric."""
        return None

    def of_outputs(self, metric: str, graded: Float[ndarray, "texts marks"], labels: Labels) -> float:
        """A metric of graded answers; NaN where it isn't defined, or an answer isn't finite."""
        if not np.isfinite(graded).all():
            return math.nan
        return self.value(metric, self.looked_at(metric, graded), labels, graded.shape[1])

    def scores(
        self, graded: Float[ndarray, "texts marks"], labels: Labels, label_names: Sequence[str]
    ) -> dict[str, Score]:
        """Every metric that such labels have, with its 95 % interval."""
        fault = faults_of(graded, self.marks(label_names))
        if fault:
            return {metric: Score(None, n=len(labels), why=fault) for metric in self.measured(labels)}
        return {metric: self.score(metric, graded, labels) for metric in self.measured(labels)}

    def measured(self, labels: Labels) -> tuple[str, ...]:
        """The metrics that are asked of rows with such labels."""
        return self.metrics

    def score(self, metric: str, graded: Float[ndarray, "texts marks"], labels: Labels) -> Score:
        """A metric with the bootstrap's interval."""
        looked, outputs = self.looked_at(metric, graded), graded.shape[1]
        return bootstrapped(
            lambda chosen: self.value(metric, looked[chosen], labels[chosen], outputs),
            len(labels),
            self.undefined(metric),
        )

    def undefined(self, metric: str) -> str:
        """Why a metric isn't defined, where it isn't."""
        return ""

    def constant(self, metric: str, labels: Labels, outputs: int) -> Score | None:
        """What the most frequent label alone would score; None for a kind that has no such answer."""
        return None

    def difference(
        self,
        metric: str,
        graded: Float[ndarray, "texts marks"],
        other: Float[ndarray, "texts marks"],
        labels: Labels,
    ) -> Score:
        """The first model's metric minus the other's on the same texts, with the paired bootstrap's interval."""
        fault = faults_of(graded, other.shape[1]) or faults_of(other, other.shape[1])
        if fault:
            return Score(None, n=len(labels), why=fault)
        outputs = graded.shape[1]
        ours, theirs = (self.looked_at(metric, side) for side in (graded, other))

        parts, others = (self.by_text(metric, side, labels) for side in (ours, theirs))
        if parts is not None and others is not None:
            return bootstrapped_mean(parts - others)

        def of(chosen: Int[ndarray, " rows"]) -> float:
            mine, rest = (self.value(metric, side[chosen], labels[chosen], outputs) for side in (ours, theirs))
            return mine - rest

        return bootstrapped(of, len(labels), f"{metric} isn't defined for one of the two")

    def paired_tests(
        self, graded: Float[ndarray, "texts marks"], other: Float[ndarray, "texts marks"], labels: Labels
    ) -> dict[str, Score]:
        """Tests of whether two models are equally good, by name."""
        return {}

    def agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """How far two models give the same answers."""
        fault = faults_of(answers, other.shape[1]) or faults_of(other, other.shape[1])
        return Score(None, n=len(answers), why=fault) if fault else self._agreement(answers, other)

    @abstractmethod
    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """`agreement` of answers that are finite and of one shape."""

    @abstractmethod
    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """How far a runner's outputs are from those that are right.

        Args:
            output: what signature.json says of both.
        """

    def made_probabilities(self, outputs: Float32[ndarray, "texts ..."]) -> Float32[ndarray, "texts ..."]:
        """Probabilities of a runner's logits, by numpy: what a file with probabilities in it is compared with."""
        raise NotImplementedError(f"{self.name} has no probabilities")

    # -- for people --

    asked: ClassVar[tuple[str, ...]] = ("text", "text2")
    """What the texts are called that are asked at a time, where no task names their columns."""
    ranks: ClassVar[bool] = False
    """Whether an answer ranks labels by their probabilities."""
    axis_of_outputs: ClassVar[int] = 1
    """Of a runner's outputs: the one with as many places as the task has names of outputs."""

    @abstractmethod
    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """What a runner's outputs say to people, text by text."""

    # -- reports, of kinds that rank labels --

    def given(self, answers: Float32[ndarray, "texts labels"]) -> Bool[ndarray, "texts labels"]:
        """Which labels each text gets by kept answers (`TaskKind.answers`)."""
        raise NotImplementedError(f"{self.name} gives no labels to texts")

    def likelihoods(
        self, answers: Float32[ndarray, "texts labels"], signature: Signature | None
    ) -> Float[ndarray, "texts labels"]:
        """The probabilities behind kept answers.

        Args:
            signature: of the artefact; None where it has none, as a linear model.
        """
        raise NotImplementedError(f"{self.name} has no probabilities")

    def claims(
        self, shares: Float[ndarray, "texts labels"], labels: Labels
    ) -> tuple[Float[ndarray, " claims"], Bool[ndarray, " claims"]]:
        """What a model claims with its probabilities, how sure it is of each claim, and whether it is right."""
        raise NotImplementedError(f"{self.name} has no probabilities")

    # -- the app --

    golden_says: ClassVar[str] = "an output for each label and token"
    """What golden.jsonl holds, where there is an answer for every token."""
    golden_wants: ClassVar[str] = "an output for each label and token"
    """The same, where some of it isn't there."""
    outputs_per_token: ClassVar[int | None] = None
    """Numbers in golden.jsonl for each token, where that isn't as many as labels."""

    @abstractmethod
    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """What golden.jsonl says that each answer is, beside its numbers."""

    def golden_outputs(self, outputs: Float32[ndarray, "..."], tokens: int) -> list[float]:
        """The numbers of one text as golden.jsonl has them."""
        return [float(value) for value in outputs.reshape(-1)]

    def from_golden(self, rows: Sequence[Sequence[float]], tokens: Sequence[int]) -> Float32[ndarray, "texts ..."]:
        """The numbers in golden.jsonl as a runner gives them."""
        return np.asarray(rows, np.float32)
