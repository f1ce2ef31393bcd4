"""Question answering: where in a context the answer to a question stands, as a span of tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Num
from numpy import ndarray
from pydantic import Field

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table
from palmtop.errors import UserError
from palmtop.metrics import Score, proportion
from palmtop.settings import Settings
from palmtop.signature import Signature
from palmtop.task_kinds import context_windows, no_answer, spans
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.gold_spans import read_spans
from palmtop.task_kinds.kind import Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.losses import soft_loss
from palmtop.task_kinds.squad import marks

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

PAIR = 2
SPAN = ("start_logits", "end_logits")
"""What the model gives for each token."""
LEAST_FOR_SPANS = 16
"""Tokens that hold a question, a context and the special ones between them."""


class Options(Settings):
    """What a task of questions leaves open."""

    unanswerable: bool = False
    """Rows may be without an answer (SQuAD 2.0): the model learns to say so at [CLS], and the threshold from which on
    it does is chosen on the validation part."""
    stride: int | None = Field(default=None, ge=1)
    """Read a context that is longer than fits in several windows, in training and when it is asked, and answer with the
    best span over them: how many tokens of the context two windows have in common, as doc_stride is counted by
    transformers. Without it the end of a context is cut off."""


@dataclass(frozen=True, kw_only=True)
class Span(Answer):
    """The answer to a question, as it stands in the context."""

    answer: str
    """Empty where the context has no answer; then begin and end are 0."""
    begin: int
    """The first character of the answer in the context, from 0."""
    end: int
    """The character after its last: context[begin:end] is the answer."""
    score: float
    """Its probability among all spans that could have been the answer, of at most 30 tokens: the softmax of the sums
    of start and end logit, over all windows, no answer beside them where that may be one. BERT's run_squad.py does the
    same over its 20 best."""

    head: ClassVar[Mapping[str, int]] = {"answer": 32, "characters": 11, "score": 6}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        said = (self.answer, f"{self.begin}-{self.end}") if self.answer else ("(no answer)", "")
        return [(*said, f"{self.score:.4f}")]


@dataclass(frozen=True)
class QuestionAnswering(TaskKind):
    """A span of the context, or nothing."""

    chosen: Options = field(default_factory=Options)
    """What the task settles."""

    name: ClassVar[str] = "question_answering"
    phone: ClassVar[bool] = True
    react_native: ClassVar[bool] = True
    asked: ClassVar[tuple[str, ...]] = ("question", "context")
    asks_a_context: ClassVar[bool] = True
    metrics: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    architecture: ClassVar[str] = "ForQuestionAnswering"
    has_labels: ClassVar[bool] = False
    output: ClassVar[str] = "spans"
    no_probabilities: ClassVar[str] = (
        "probabilities is for classification; of a span the start and end logits are wanted"
    )
    outputs: ClassVar[tuple[str, ...]] = ("spans",)
    output_names: ClassVar[tuple[str, ...]] = SPAN
    per_token: ClassVar[bool] = True
    texts_have: ClassVar[str] = "an answer each"
    lost_with_words: ClassVar[str | None] = "the answer to a question"
    token_work: ClassVar[str] = "find an answer"
    head: ClassVar[Any] = "span_head"
    stages: ClassVar[frozenset[str] | None] = frozenset(
        {
            *("adopt", "finetune", "distill", "quantize", "to_app"),
            *("to_tflite", "to_onnx", "to_tfjs", "to_executorch", "to_coreml"),
        }
    )
    refuses: ClassVar[Mapping[str, str]] = {
        "cut_embedding": "its answer is a place in a context, no vector",
        "cascade": "begin and end of an answer are sure apart from each other: take one smaller model",
    }
    task_client: ClassVar[Any] = "question_answerer"
    pipeline: ClassVar[str | None] = "question-answering"
    cut_rows_are_left_out: ClassVar[bool] = True
    filler: ClassVar[float] = spans.OUTSIDE
    golden_says: ClassVar[str] = "start and end logits for each token"
    golden_wants: ClassVar[str] = "a start and an end logit for each token"
    outputs_per_token: ClassVar[int | None] = len(SPAN)
    options: ClassVar[type[Settings] | None] = Options

    def signed(self, signature: Signature, folder: Path) -> Signature:
        """With the usual threshold where there may be no answer, and with the windows."""
        threshold = no_answer.USUAL if self.chosen.unanswerable else None
        said = {"null_threshold": threshold, "stride": self.chosen.stride}
        return super().signed(signature, folder).model_copy(update=said)

    def as_signed(self, signature: Signature) -> "QuestionAnswering":
        """With the windows that the model reads."""
        return QuestionAnswering(Options(unanswerable=signature.null_threshold is not None, stride=signature.stride))

    @property
    def settles(self) -> bool:
        """The threshold, where there may be no answer."""
        return self.chosen.unanswerable

    def check_definition(self, task: Definition) -> None:
        """Raises: ValueError: it has labels, or not a question's column and a context's."""
        super().check_definition(task)
        if len(task.columns) != PAIR:
            raise ValueError(
                "question_answering needs the question's column and the context's, as in text: [question, context]"
            )

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Answers as objects with text and answer_start."""
        return bool(labels) and all(isinstance(label, dict) and "text" in label for label in labels)

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """Start and end."""
        return SPAN

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """The answers as `gold_spans` reads them, int64 [rows, answers, 2]."""
        contexts = [context for _, context in texts]
        return read_spans(values, contexts, table.where, task.label, self.chosen.unanswerable)

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: no row has an answer. Equal answers in other contexts are to be learnt too."""
        if no_answer.without(labels).all():
            raise UserError(f"{where}: none of {len(labels)} rows has an answer: there is nothing to learn")

    def strata(self, labels: Labels) -> Num[ndarray, " rows"] | None:
        """Rows with an answer and rows without, where there are such."""
        return no_answer.without(labels) if self.chosen.unanswerable else None

    def describe(self, task: Definition) -> str:
        """What is answered."""
        return "the answer to a question, in its context"

    least_tokens: ClassVar[int] = LEAST_FOR_SPANS
    text_is: ClassVar[str] = "a question and its context"

    def check_length(self, tokens: int) -> None:
        """Raises: UserError: so few tokens hold no question and its context, or not the windows' common tokens."""
        super().check_length(tokens)
        context_windows.check_stride(self.chosen.stride, tokens)

    def encode(self, tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int) -> list[Encoding]:
        """See `context_windows.encode`. In windows there is always one that the answer isn't in, so no answer has a
        token of its own."""
        chosen = self.chosen
        marks_nowhere = chosen.unanswerable or chosen.stride is not None
        return context_windows.encode(tokenizer, texts, max_length, chosen.stride, marks_nowhere)

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """The windows of rows whose answer wasn't cut off, and its first and last token, int64 [windows, 2]: where it
        is in another window, and where a row has none, the token that stands for no answer."""
        begins = spans.first_windows(encodings)
        text_of = np.cumsum([encoding.part == 0 for encoding in encodings]) - 1
        tokens = spans.token_labels(encodings, labels[text_of])
        found = np.logical_or.reduceat((tokens >= 0).all(axis=1), begins)
        kept = np.flatnonzero(found[text_of])
        if not len(kept):
            raise UserError(
                f"all {len(begins)} answers lie behind the tokens that are read of a context: raise max_length"
            )
        for window in kept:
            if tokens[window, 0] < 0:
                tokens[window] = spans.nowhere(encodings[window])
        return [encodings[window] for window in kept], tokens[kept]

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """The mean of the cross-entropies of start and end over all tokens (Devlin et al. 2018, section 4.2).

        Args:
            outputs: [batch, 2, tokens].
            labels: first and last token, [batch, 2].
        """
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs.transpose(1, 2), labels, reduction="none").mean(dim=1)

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """`losses.soft_loss` over tokens, its mean over start and end, as the labels' loss is."""
        return soft_loss(outputs, taught, temperature).mean(dim=1)

    def settled(
        self,
        outputs: Float32[ndarray, "texts ..."],
        labels: Labels,
        signature: Signature,
        encodings: Sequence[Encoding] = (),
    ) -> Signature:
        """See `no_answer.settled`."""
        return no_answer.settled(outputs, encodings, labels, signature)

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """No stage that needs it works for spans."""
        raise NotImplementedError("Fisher information of spans")

    def by_token(self, outputs: "Tensor") -> "Tensor":
        """[batch, 2, tokens] <-> [batch, tokens, 2]."""
        return outputs.transpose(1, 2)

    def graph_outputs(self, answer: Any, probabilities: bool) -> "Tensor | dict[str, Tensor]":
        """Start and end logits by name, each [batch, tokens]."""
        return {name: answer[name] for name in SPAN}

    def from_runtime(self, outputs: Mapping[str, ndarray], rows: int, length: int) -> Float32[ndarray, "rows ..."]:
        """[rows, 2, tokens]."""
        return np.stack([outputs[name].reshape(rows, length) for name in SPAN], axis=1)

    def joined(
        self, rows: Sequence[Float32[ndarray, "..."]], encodings: Sequence[Encoding]
    ) -> Float32[ndarray, "texts ..."]:
        """[texts, 2, tokens of the longest]."""
        return spans.joined(rows, encodings)

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """Begin and end of the best span, in characters of the context, [texts, 2]; -1 where there is no answer."""
        return spans.characters(outputs, encodings, _threshold(signature))

    def graded(
        self,
        answers: Float32[ndarray, "texts answers"],
        labels: Labels,
        texts: Sequence[Text],
        label_names: Sequence[str],
    ) -> Float[ndarray, "texts marks"]:
        """F1 and exact match of each answer, [texts, 2]."""
        return marks(answers, labels, [text[1] for text in texts])

    def looked_at(self, metric: str, graded: Float[ndarray, "texts marks"]) -> Num[ndarray, "texts ..."]:
        """The marks that it is the mean of."""
        return graded[:, self.metrics.index(no_answer.plain(metric))]

    def measured(self, labels: Labels) -> tuple[str, ...]:
        """Where some rows are without an answer, those with one and those without apart as well."""
        none = no_answer.without(labels)
        return (*self.metrics, *no_answer.PARTS) if none.any() and not none.all() else self.metrics

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """The mean mark of the rows that a metric is about."""
        part = looked[no_answer.rows_of(metric, labels)]
        return float(part.mean()) if len(part) else float("nan")

    def by_text(
        self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels
    ) -> Float[ndarray, " texts"] | None:
        """Its mark: f1 and exact_match are means of those."""
        return looked.astype(np.float64) if metric in self.metrics else None

    def score(self, metric: str, graded: Float[ndarray, "texts marks"], labels: Labels) -> Score:
        """See `no_answer.score`."""
        return no_answer.score(metric, self.looked_at(metric, graded), labels)

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The share of equal spans."""
        return proportion(int((answers == other).all(axis=1).sum()), len(answers))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """Of start and end logits, of which a text has hundreds: the root mean square of each text's differences,
        divided by the standard deviation over all tokens of the contexts."""
        inside = expected != spans.OUTSIDE
        spread = float(expected[inside].std()) or 1.0
        squares = (expected - found) ** 2
        by_text = np.sqrt(squares.sum(axis=(1, 2)) / inside.sum(axis=(1, 2)).clip(min=1))
        agreement = float((spans.best_tokens(expected) == spans.best_tokens(found)).all(axis=1).mean())
        return Differences(by_text / spread, float(np.sqrt(squares[inside].mean())) / spread, agreement)

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `Span` each."""
        threshold = _threshold(signature)
        places = spans.characters(outputs, encodings, threshold).clip(min=0)
        asked = [encodings[window] for window in spans.first_windows(encodings)]
        scores = spans.probabilities(outputs, encodings, threshold)
        return [
            Span(truncated=first.truncated, answer=words, begin=int(begin), end=int(end), score=score)
            for first, words, (begin, end), score in zip(
                asked, spans.texts_of(places, encodings), places, scores, strict=True
            )
        ]

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """The words of the answer; nothing where there is none."""
        return spans.texts_of(spans.characters(outputs, encodings, _threshold(signature)), encodings)

    def golden_outputs(self, outputs: Float32[ndarray, "..."], tokens: int) -> list[float]:
        """The start logit of every token, then the end logits."""
        return super().golden_outputs(outputs[..., :tokens], tokens)

    def from_golden(self, rows: Sequence[Sequence[float]], tokens: Sequence[int]) -> Float32[ndarray, "texts ..."]:
        """[texts, 2, tokens of the longest]."""
        made = np.full((len(rows), len(SPAN), max(tokens)), spans.OUTSIDE, np.float32)
        for answer, row, count in zip(made, rows, tokens, strict=True):
            answer[:, :count] = np.asarray(row, np.float32).reshape(len(SPAN), -1)
        return made


def _threshold(signature: Signature | None) -> float | None:
    return None if signature is None else signature.null_threshold
