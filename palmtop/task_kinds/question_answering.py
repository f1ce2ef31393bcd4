"""Question answering: where in a context the answer to a question stands, as a span of tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table
from palmtop.errors import UserError
from palmtop.metrics import Score, proportion
from palmtop.signature import Signature
from palmtop.task_kinds import spans
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
MOST_OF_QUESTION = 64
"""Tokens after which a question is cut, as in BERT's run_squad.py and in tflite-support's BertQuestionAnswerer."""
LEAST_FOR_SPANS = 16
"""Tokens that hold a question, a context and the special ones between them."""


@dataclass(frozen=True, kw_only=True)
class Span(Answer):
    """The answer to a question, as it stands in the context."""

    answer: str
    begin: int
    """The first character of the answer in the context, from 0."""
    end: int
    """The character after its last: context[begin:end] is the answer."""
    score: float
    """Its probability among all spans that could have been the answer, of at most 30 tokens: the softmax of the sums
    of start and end logit. BERT's run_squad.py does the same over its 20 best."""

    head: ClassVar[Mapping[str, int]] = {"answer": 32, "characters": 11, "score": 6}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(self.answer, f"{self.begin}-{self.end}", f"{self.score:.4f}")]


class QuestionAnswering(TaskKind):
    """A span of the context."""

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
    refuses: ClassVar[Mapping[str, str]] = {"cut_embedding": "its answer is a place in a context, no vector"}
    task_client: ClassVar[Any] = "question_answerer"
    pipeline: ClassVar[str | None] = "question-answering"
    cut_rows_are_left_out: ClassVar[bool] = True
    filler: ClassVar[float] = spans.OUTSIDE
    golden_says: ClassVar[str] = "start and end logits for each token"
    golden_wants: ClassVar[str] = "a start and an end logit for each token"
    outputs_per_token: ClassVar[int | None] = len(SPAN)

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
        return read_spans(values, [context for _, context in texts], table.where, task.label)

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Nothing: equal answers in other contexts are to be learnt too."""

    def describe(self, task: Definition) -> str:
        """What is answered."""
        return "the answer to a question, in its context"

    least_tokens: ClassVar[int] = LEAST_FOR_SPANS
    text_is: ClassVar[str] = "a question and its context"

    def encode(self, tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int) -> list[Encoding]:
        """Questions and contexts: only the context is cut, unless the question fills half the length."""
        questions = _cut_questions(tokenizer, [question for question, _ in texts], max_length)
        tokenizer.enable_truncation(max_length=max_length, strategy="only_second")
        rows = tokenizer.encode_batch(
            [(question, context) for question, (_, context) in zip(questions, texts, strict=True)]
        )
        return [
            Encoding(
                text,
                np.asarray(row.ids, np.int32),
                np.asarray(row.type_ids, np.int32),
                bool(row.overflowing) or question != text[0],
                _places(row),
            )
            for text, question, row in zip(texts, questions, rows, strict=True)
        ]

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """The rows whose answer wasn't cut off, and its first and last token, int64 [rows, 2]."""
        tokens = spans.token_labels(encodings, labels)
        kept = np.flatnonzero((tokens >= 0).all(axis=1))
        if not len(kept):
            raise UserError(
                f"all {len(encodings)} answers lie behind the tokens that are read of a context: raise max_length"
            )
        return [encodings[row] for row in kept], tokens[kept]

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
        """Begin and end of the best span, in characters of the context, [texts, 2]."""
        return spans.characters(outputs, encodings)

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
        return graded[:, self.metrics.index(metric)]

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """f1, exact_match."""
        return float(looked.mean())

    def by_text(
        self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels
    ) -> Float[ndarray, " texts"] | None:
        """Its mark: both metrics are means of those."""
        return looked.astype(np.float64)

    def score(self, metric: str, graded: Float[ndarray, "texts marks"], labels: Labels) -> Score:
        """Wilson's interval for exact match, the bootstrap's for F1."""
        if metric == "exact_match":
            return proportion(int(self.looked_at(metric, graded).sum()), len(labels))
        return super().score(metric, graded, labels)

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
        places = spans.characters(outputs, encodings)
        return [
            Span(truncated=encoding.truncated, answer=words, begin=int(begin), end=int(end), score=_span_score(output))
            for encoding, words, (begin, end), output in zip(
                encodings, spans.texts_of(places, encodings), places, outputs, strict=True
            )
        ]

    def said(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], label_names: Sequence[str]
    ) -> Sequence[str | None]:
        """The words of the answer."""
        return spans.texts_of(spans.characters(outputs, encodings), encodings)

    def golden_outputs(self, outputs: Float32[ndarray, "..."], tokens: int) -> list[float]:
        """The start logit of every token, then the end logits."""
        return super().golden_outputs(outputs[..., :tokens], tokens)

    def from_golden(self, rows: Sequence[Sequence[float]], tokens: Sequence[int]) -> Float32[ndarray, "texts ..."]:
        """[texts, 2, tokens of the longest]."""
        made = np.full((len(rows), len(SPAN), max(tokens)), spans.OUTSIDE, np.float32)
        for answer, row, count in zip(made, rows, tokens, strict=True):
            answer[:, :count] = np.asarray(row, np.float32).reshape(len(SPAN), -1)
        return made


def _cut_questions(tokenizer: "Tokenizer", questions: Sequence[str], max_length: int) -> list[str]:
    most = min(MOST_OF_QUESTION, max_length // 2)
    tokenizer.no_truncation()
    rows = tokenizer.encode_batch(list(questions), add_special_tokens=False)
    return [
        question if len(row) <= most else question[: row.offsets[most - 1][1]]
        for question, row in zip(questions, rows, strict=True)
    ]


def _places(row: Any) -> Int64[ndarray, "tokens 2"]:
    places = np.asarray(row.offsets, np.int64)
    places[[sequence != 1 for sequence in row.sequence_ids]] = -1
    return places


def _span_score(logits: Float32[ndarray, "2 tokens"]) -> float:
    """Softmax of the best span among all that `spans.best_tokens` considers."""
    start, end = logits.astype(np.float64)
    sums = np.concatenate([start[: len(start) - more] + end[more:] for more in range(min(spans.MOST_TOKENS, len(end)))])
    return float(1 / np.exp(sums - sums.max()).sum())
