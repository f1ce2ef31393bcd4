"""Causal language modelling: a model that writes, learnt from plain texts, or from prompts and what follows them."""

import json
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
from palmtop.families.family import Kind
from palmtop.generation import Generation
from palmtop.metrics import Score, proportion
from palmtop.settings import Settings
from palmtop.signature import Signature
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.kind import IGNORED, Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.losses import soft_loss

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

UNSCORED = 1.0
"""Stands for the log-probability of a token that isn't scored: the first, a prompt's, none at all."""
SCORES = 3
"""Of a token: its log-probability, the likeliest one in its place, itself."""
PAIR = 2
FIRST, PACE = "first_token_ms", "tokens_per_second"
"""Metrics of how fast a model writes: from a prompt to its first token, and behind that."""


class Options(Generation):
    """How it goes on from a text (`palmtop.generation`), and the token at which that ends."""

    end: str | None = Field(default=None, min_length=1)
    """The token that ends a continuation, as <|endoftext|>; by default the eos_token_id of the model's config.json.
    Whoever wants texts to end teaches it: the token stands at the end of the training rows."""


@dataclass(frozen=True, kw_only=True)
class Written(Answer):
    """What a model wrote behind a prompt."""

    text: str
    tokens: int
    """How many it wrote, the ending one left out."""

    head: ClassVar[Mapping[str, int]] = {"text": 60}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [(self.text,)]


@dataclass(frozen=True)
class CausalLm(TaskKind):
    """The tokens that come next.

    Models of it are written on (`palmtop.writer`), not asked: what a runner gives for a whole text are the scores of
    its tokens, [texts, 3, tokens]: the log-probability of each behind those before it, the likeliest token in its
    place, and the token itself.
    """

    chosen: Options = field(default_factory=Options)
    """What the task settles."""

    name: ClassVar[str] = "causal_lm"
    transformers: ClassVar[frozenset[Kind]] = frozenset({"decoder"})
    writes: ClassVar[bool] = True
    label_optional: ClassVar[bool] = True
    names_outputs: ClassVar[bool] = False
    asked: ClassVar[tuple[str, ...]] = ("prompt",)
    metrics: ClassVar[tuple[str, ...]] = ("next_token_accuracy", "perplexity")
    times: ClassVar[tuple[str, ...]] = (FIRST, PACE)
    architecture: ClassVar[str] = "ForCausalLM"
    has_labels: ClassVar[bool] = False
    per_token: ClassVar[bool] = True
    labels_per_token: ClassVar[bool] = True
    output: ClassVar[str] = "next_tokens"
    outputs: ClassVar[tuple[str, ...]] = ("next_tokens",)
    texts_have: ClassVar[str] = "no label"
    token_work: ClassVar[str] = "go on from it"
    head: ClassVar[Any] = "word_head"
    no_probabilities: ClassVar[str] = "probabilities is for classification; of next tokens, searches want logits"
    lost_with_words: ClassVar[str | None] = "what follows words"
    options: ClassVar[type[Settings] | None] = Options
    page: ClassVar[bool] = False
    least_tokens: ClassVar[int] = 2
    text_is: ClassVar[str] = "a token and the next"
    stages: ClassVar[frozenset[str] | None] = frozenset(
        {"adopt", "finetune", "distill", "distill_causal", "to_tflite", "to_onnx", "quantize"}
    )
    refuses: ClassVar[Mapping[str, str]] = {
        "to_tfjs": "its graph model runs whole texts, and a cache of keys and values that goes in and out at every "
        "token would be copied between page and runtime each time: export it with 'to_onnx', whose file "
        "transformers.js opens",
        "to_executorch": "its file has one graph, and a model that writes has two, which share weights: export it with "
        "'to_tflite' or 'to_onnx'",
        "to_coreml": "nothing here runs Core ML, and tokens can be compared with torch's only where they are written: "
        "export it with 'to_tflite' or 'to_onnx'",
        "to_app": "no client that it writes has the loop yet: open the bundle with 'palmtop predict', or the ONNX file "
        "with transformers.js",
        "tfidf": "the linear floor gives one label a text",
    }
    no_task_client: ClassVar[str] = "they classify, this model writes"

    # -- the task --

    def signed(self, signature: Signature, folder: Path) -> Signature:
        """With the generation settings; their ending token is that of the task, or of the folder's config.json.

        Raises:
            UserError: the tokenizer has no such token.
        """
        said = self.chosen.model_dump(exclude={"end", "end_id"})
        generation = Generation(**said, end_id=self._end(folder))
        return super().signed(signature, folder).model_copy(update={"generation": generation})

    def _end(self, folder: Path) -> int | None:
        if self.chosen.end_id is not None or self.chosen.end is None:
            written = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("eos_token_id")
            first = written[0] if isinstance(written, list) and written else written
            return self.chosen.end_id if self.chosen.end_id is not None else first
        from palmtop.data.special_tokens import plain_tokenizer

        found = plain_tokenizer(folder).token_to_id(self.chosen.end)
        if found is None:
            raise UserError(f"the tokenizer has no token '{self.chosen.end}', at which options.end lets texts end")
        return int(found)

    def check_definition(self, task: Definition) -> None:
        """Raises: ValueError: it has labels, or is to be decided by what is better the less it is."""
        super().check_definition(task)
        if task.label:
            raise ValueError("causal_lm has no label: its texts alone are learnt; remove 'label'")
        if task.main_metric == "perplexity":
            raise ValueError(
                "a perplexity is better the less it is, and whatever chooses takes the larger number: leave 'metric' "
                "out; perplexity is measured beside next_token_accuracy"
            )

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The next token."""
        return (self.output,)

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """None: zeros, int64 [rows]."""
        return np.zeros(len(texts), np.int64)

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Every text has something to learn."""

    def describe(self, task: Definition) -> str:
        """What it does."""
        return "goes on from a text"

    def reads(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The prompt: the rest is written."""
        return columns[:1]

    # -- texts --

    def encode(self, tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int) -> list[Encoding]:
        """Texts as token ids without special tokens, cut at `max_length`; prompt and continuation are tokenized each by
        itself, as the prompt is when it is asked alone, and the continuation's tokens have the type 1."""
        tokenizer.no_truncation()
        parts = [part for text in texts for part in text]
        rows = iter(tokenizer.encode_batch(parts, add_special_tokens=False))
        made = []
        for text in texts:
            ids = [np.asarray(next(rows).ids, np.int32) for _ in text]
            types = np.concatenate([np.full(len(part), place, np.int32) for place, part in enumerate(ids)])
            whole = np.concatenate(ids)
            made.append(Encoding(text, whole[:max_length], types[:max_length], len(whole) > max_length))
        return made

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """For each token the next, int64 [tokens of all rows]: IGNORED for the last of a row, and before a prompt's
        tokens. Rows with nothing to learn are left out.

        Raises:
            UserError: none is left.
        """
        kept = [row for row in encodings if scored(row).any()]
        if not kept:
            raise UserError("no text has two tokens, or its prompt fills all of max_length: there is nothing to learn")
        made = []
        for row in kept:
            following = np.where(scored(row), row.input_ids, IGNORED)
            made.append(np.append(following[1:], IGNORED).astype(np.int64))
        return kept, np.concatenate(made)

    # -- losses --

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Cross-entropy of logits [batch, tokens, vocabulary] on the next tokens [batch, tokens], mean over those of a
        text."""
        from torch.nn.functional import cross_entropy

        losses = cross_entropy(outputs.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        return losses.sum(-1) / (labels != IGNORED).sum(-1).clamp(min=1)

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """`losses.soft_loss` behind every token, mean over a text's real tokens."""
        return (soft_loss(outputs, taught, temperature) * mask).sum(-1) / mask.sum(-1)

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Cross-entropy with a token drawn for each place from its softmax, mean over the places."""
        import torch

        drawn = torch.multinomial(outputs.detach().softmax(-1).flatten(0, 1), 1, generator=generator)
        return self.label_loss(outputs, drawn.view(outputs.shape[:2]))

    def width(self, config: Any) -> int:
        """The vocabulary."""
        return int(config.vocab_size)

    # -- answers --

    def condensed(self, outputs: "Tensor", ids: "Tensor") -> "Tensor":
        """The scores of the tokens, [batch, 3, tokens], of logits [batch, tokens, vocabulary]: of a text of GPT-2's
        vocabulary three numbers stand for 50,257."""
        import torch

        logs = outputs[:, :-1].float().log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        made = torch.full((len(ids), SCORES, ids.shape[1]), UNSCORED, device=outputs.device)
        made[:, 0, 1:], made[:, 1, 1:], made[:, 2] = logs, outputs[:, :-1].argmax(-1).float(), ids.float()
        return made

    def joined(
        self, rows: Sequence[Float32[ndarray, "..."]], encodings: Sequence[Encoding]
    ) -> Float32[ndarray, "texts ..."]:
        """[texts, 3, tokens of the longest], with UNSCORED where no token is scored."""
        made = np.full((len(rows), SCORES, max(map(len, encodings))), UNSCORED, np.float32)
        for answer, row, encoding in zip(made, rows, encodings, strict=True):
            inside = np.flatnonzero(scored(encoding))
            answer[:, inside] = row[:, inside]
        return made

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """All scores, a text's in a row."""
        return outputs.reshape(len(outputs), -1)

    def graded(
        self,
        answers: Float32[ndarray, "texts answers"],
        labels: Labels,
        texts: Sequence[Text],
        label_names: Sequence[str],
    ) -> Float[ndarray, "texts marks"]:
        """Of each text the sum of its tokens' log-probabilities, how many are the likeliest, and how many there are."""
        logs, likeliest, tokens = answers.reshape(len(answers), SCORES, -1).transpose(1, 0, 2).astype(np.float64)
        inside = logs != UNSCORED
        sums = np.where(inside, logs, 0.0).sum(axis=1)
        return np.stack([sums, ((likeliest == tokens) & inside).sum(axis=1), inside.sum(axis=1)], axis=1)

    def marks(self, label_names: Sequence[str]) -> int:
        """Sum, right ones, all."""
        return SCORES

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """perplexity: e to the mean negative log-probability of all texts' tokens; next_token_accuracy: the share of
        them that are the likeliest."""
        total, right, tokens = looked.sum(axis=0)
        if not tokens:
            return float("nan")
        return float(np.exp(-total / tokens)) if metric == "perplexity" else float(right / tokens)

    def undefined(self, metric: str) -> str:
        """Nothing is scored."""
        return "no text has a token behind another"

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The share of places with the same likeliest token."""
        ours, theirs = (side.reshape(len(side), SCORES, -1) for side in (answers, other))
        inside = (ours[:, 0] != UNSCORED) & (theirs[:, 0] != UNSCORED)
        return proportion(int((ours[:, 1] == theirs[:, 1])[inside].sum()), max(1, int(inside.sum())))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """The root mean square of each text's differences of log-probability, divided by their standard deviation over
        all tokens; the share of places with the same likeliest token."""
        inside = expected[:, 0] != UNSCORED
        if not inside.any():
            return Differences(np.zeros(len(expected)), 0.0, 1.0)
        spread = float(expected[:, 0][inside].std()) or 1.0
        squares = (expected[:, 0].astype(np.float64) - found[:, 0]) ** 2 * inside
        by_text = np.sqrt(squares.sum(axis=1) / inside.sum(axis=1).clip(min=1))
        same = (expected[:, 1] == found[:, 1])[inside].mean()
        return Differences(by_text / spread, float(np.sqrt(squares[inside].mean())) / spread, float(same))

    # -- for people --

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """Nothing: such a model writes (`palmtop.loaded.Model`)."""
        raise NotImplementedError("a model that writes is asked token by token (palmtop.writer)")

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """Nothing: no app is made of it."""
        raise NotImplementedError("no app is made of a model that writes")


def scored(encoding: Encoding) -> Num[ndarray, " tokens"]:
    """Whether a token of a text is scored: all but the first, of a prompt and its continuation the latter's."""
    types = encoding.token_type_ids
    made: Num[ndarray, " tokens"] = np.arange(len(types)) > 0
    return made & (types == 1) if len(encoding.text) == PAIR else made
