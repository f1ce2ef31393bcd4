"""Token classification: a tag for every word of a text, and the entities that the tags mark (IOB2)."""

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64, Num
from numpy import ndarray

from palmtop.data.encoding import Encoding, Text
from palmtop.data.rows import Table, have
from palmtop.errors import UserError
from palmtop.metrics import Score, proportion
from palmtop.signature import Signature
from palmtop.task_kinds.answer import Answer
from palmtop.task_kinds.classification import check_known, given_labels
from palmtop.task_kinds.kind import IGNORED, Definition, Differences, Labels, TaskKind
from palmtop.task_kinds.label_words import are_lists, checked
from palmtop.task_kinds.losses import soft_loss
from palmtop.task_kinds.spans import OUTSIDE

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Generator, Tensor

ABSENT = -1
"""The tag of a word that isn't there, in a text with fewer than another, or that was cut off."""
NOTHING = "O"
"""The tag of a word that is part of no entity."""

Entity = tuple[str, int, int]
"""Type, first word and last word."""


class Marks(NamedTuple):
    """What a text's tags are worth."""

    right: int
    """Entities with the right type, first and last word."""
    found: int
    wanted: int
    right_words: int
    """Words with the right tag."""
    words: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """An entity as it stands in a text."""

    label: str
    """Its type."""
    text: str
    begin: int
    """Its first character, from 0."""
    end: int
    """The character after its last: text[begin:end] is the entity."""


@dataclass(frozen=True, kw_only=True)
class Tags(Answer):
    """The entities of a text, in their order."""

    entities: tuple[Found, ...]

    head: ClassVar[Mapping[str, int]] = {"entities": 60}

    def lines(self, top: int) -> list[tuple[str, ...]]:
        """One line."""
        return [("; ".join(f"{one.text} ({one.label})" for one in self.entities) or "none",)]


class TokenClassification(TaskKind):
    """A tag for every word."""

    name: ClassVar[str] = "token_classification"
    phone: ClassVar[bool] = True
    react_native: ClassVar[bool] = True
    axis_of_outputs: ClassVar[int] = 2
    metrics: ClassVar[tuple[str, ...]] = ("entity_f1", "word_accuracy")
    architecture: ClassVar[str] = "ForTokenClassification"
    has_labels: ClassVar[bool] = True
    texts_have: ClassVar[str] = "a tag for each word"
    lost_with_words: ClassVar[str | None] = "the tags of words"
    output: ClassVar[str] = "token_logits"
    no_probabilities: ClassVar[str] = "probabilities is for classification; of tags the largest logit is wanted"
    outputs: ClassVar[tuple[str, ...]] = ("token_logits",)
    per_token: ClassVar[bool] = True
    token_work: ClassVar[str] = "tag words"
    head: ClassVar[Any] = "token_head"
    labels_per_token: ClassVar[bool] = True
    refuses: ClassVar[Mapping[str, str]] = {
        "cut_embedding": "each number of its answer is a tag's, none can go",
        "tfidf": "the linear floor gives one label a text",
        "cascade": "a model is sure of some words of a text and not of others: take one smaller model",
        "static": "a model without layers knows no word from another",
        "convolution": "the student that it builds answers for a whole text: distil to fewer layers with 'distill'",
        "mobilebert": "the student it builds answers for a whole text: distil to fewer layers with 'distill' or "
        "'tinybert'",
        "inverted_bottleneck": "the teacher it builds answers for a whole text: distil to fewer layers with 'distill'",
    }
    no_task_client: ClassVar[str] = "they classify texts, this model tags words"
    pipeline: ClassVar[str | None] = "token-classification"

    def text(self, value: Any) -> str:
        """The words with a space between them."""
        if value is None:
            return ""
        words = value.split() if isinstance(value, str) else value
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{value!r} is no list of words: write a list, or a text with spaces between the words")
        if odd := next((word for word in words if len(word.split()) != 1), None):
            raise ValueError(f"the word {odd!r} is empty or has a space in it: give each word by itself")
        return " ".join(word.strip() for word in words)

    def shows(self, texts: Sequence[Any], labels: Sequence[Any]) -> bool:
        """Lists of words with lists of tags, as long."""
        lists = are_lists(texts) and are_lists(labels)
        return lists and all(len(words) == len(tags) for words, tags in zip(texts, labels, strict=True))

    def label_names(self, task: Definition, train: Callable[[], Table]) -> tuple[str, ...]:
        """The tags: those of the task, or of the training data, sorted."""
        if task.labels is not None:
            return given_labels(task)
        table = train()
        tags = (tag for value in table.column(task.label) for tag in _tags(value) or ())
        return table.class_names(task.label) or checked(tags, task.label, table.where)

    def read_labels(self, task: Definition, texts: Sequence[Text], values: Sequence[Any], table: Table) -> Labels:
        """The tag of each word, int64 [rows, words of the longest], ABSENT where there is no word.

        A field is a list of tags, or a text with spaces between them; as many as the text has words.
        """
        classes, column = table.class_names(task.label), task.labels if isinstance(task.labels, dict) else {}
        read = [_tags(value) for value in values]
        words = [len(text[0].split(" ")) if text[0] else 0 for text in texts]
        if odd := [
            row for row, (tags, count) in enumerate(zip(read, words, strict=True), 1) if len(tags or ()) != count
        ]:
            first = odd[0] - 1
            raise UserError(
                f"{table.where}: {have(odd)} not a tag for each word in column '{task.label}' (the first: "
                f"{len(read[first] or ())} tags, {words[first]} words)"
            )
        named = [[column.get(tag, tag) for tag in _named(tags or (), classes)] for tags in read]
        check_known(named, task, table.where)
        place = {name: position for position, name in enumerate(task.label_names)}
        made = np.full((len(named), max(words)), ABSENT, np.int64)
        for row, tags in enumerate(named):
            made[row, : len(tags)] = [place[tag] for tag in tags]
        return made

    def check_learnable(self, task: Definition, labels: Labels, where: str) -> None:
        """Raises: UserError: all words have the same tag."""
        tags = np.unique(labels[labels != ABSENT])
        if len(tags) <= 1:
            raise UserError(
                f"{where}: all words have the tag '{task.label_names[int(tags[0])]}': there is nothing to learn; "
                f"check the column '{task.label}'"
            )

    def describe(self, task: Definition) -> str:
        """How many tags there are."""
        return f"a tag for each word, of {len(task.label_names)}"

    def encode(self, tokenizer: "Tokenizer", texts: Sequence[Text], max_length: int) -> list[Encoding]:
        """Texts as token ids, with the characters that each token stands for."""
        tokenizer.enable_truncation(max_length=max_length)
        rows = tokenizer.encode_batch([text[0] for text in texts])
        return [
            Encoding(
                text,
                np.asarray(row.ids, np.int32),
                np.asarray(row.type_ids, np.int32),
                bool(row.overflowing),
                _places(row, text[0]),
            )
            for text, row in zip(texts, rows, strict=True)
        ]

    def trained(self, encodings: list[Encoding], labels: Labels) -> tuple[list[Encoding], Labels]:
        """A label for each token, int64 [tokens of all rows]: a word's tag for its first token, IGNORED for all others
        (Devlin et al. 2018, section 5.3)."""
        made = []
        for encoding, tags in zip(encodings, labels, strict=True):
            row = np.full(len(encoding), IGNORED, np.int64)
            firsts = first_tokens(encoding, given_words(encoding.text[0]))
            kept = firsts >= 0
            row[firsts[kept]] = tags[: len(firsts)][kept]
            made.append(row)
        return encodings, np.concatenate(made)

    def label_loss(self, outputs: "Tensor", labels: "Tensor") -> "Tensor":
        """Cross-entropy of logits [batch, tokens, labels] on labels [batch, tokens], mean over a text's words."""
        from torch.nn.functional import cross_entropy

        losses = cross_entropy(outputs.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        return losses.sum(-1) / (labels != IGNORED).sum(-1).clamp(min=1)

    def soft_loss(self, outputs: "Tensor", taught: "Tensor", temperature: float, mask: "Tensor") -> "Tensor":
        """`losses.soft_loss` of every token, mean over a text's real tokens; 0 where there are none."""
        return (soft_loss(outputs, taught, temperature) * mask).sum(-1) / mask.sum(-1).clamp(min=1)

    def drawn_loss(self, outputs: "Tensor", generator: "Generator") -> "Tensor":
        """Cross-entropy with a tag drawn for each token from its softmax, mean over the tokens."""
        import torch

        drawn = torch.multinomial(outputs.detach().softmax(-1).flatten(0, 1), 1, generator=generator)
        return self.label_loss(outputs, drawn.view(outputs.shape[:2]))

    def from_runtime(self, outputs: Mapping[str, ndarray], rows: int, length: int) -> Float32[ndarray, "rows ..."]:
        """[rows, tokens, labels]."""
        return np.asarray(next(iter(outputs.values())), np.float32).reshape(rows, length, -1)

    def joined(
        self, rows: Sequence[Float32[ndarray, "..."]], encodings: Sequence[Encoding]
    ) -> Float32[ndarray, "texts ..."]:
        """[texts, tokens of the longest, labels], with OUTSIDE where there is no token of the text."""
        made = np.full((len(rows), max(map(len, encodings)), rows[0].shape[1]), OUTSIDE, np.float32)
        for answer, row, encoding in zip(made, rows, encodings, strict=True):
            inside = np.flatnonzero(_of(encoding)[:, 0] >= 0)
            answer[inside] = row[inside]
        return made

    def answers(
        self, outputs: Float32[ndarray, "texts ..."], encodings: Sequence[Encoding], signature: Signature | None
    ) -> Float32[ndarray, "texts answers"]:
        """The tag of each word, [texts, words of the longest], ABSENT where it was cut off or isn't there; NaN where a
        logit isn't finite."""
        made = np.full((len(outputs), max(len(row.text[0].split(" ")) for row in encodings)), ABSENT, np.float32)
        for answer, row, encoding in zip(made, outputs, encodings, strict=True):
            firsts = first_tokens(encoding, given_words(encoding.text[0]))
            kept = firsts >= 0
            answer[: len(firsts)][kept] = row[firsts[kept]].argmax(axis=-1)
            if not np.isfinite(row).all():
                answer[:] = np.nan
        return made

    def graded(
        self,
        answers: Float32[ndarray, "texts answers"],
        labels: Labels,
        texts: Sequence[Text],
        label_names: Sequence[str],
    ) -> Float[ndarray, "texts marks"]:
        """The `Marks` of each text; NaN where there is no answer. A word that was cut off counts as tagged `O`."""
        made: Float64[ndarray, "texts marks"] = np.array(
            [_marks(given, gold, label_names) for given, gold in zip(answers, labels, strict=True)], np.float64
        )
        return made

    def marks(self, label_names: Sequence[str]) -> int:
        """As many as `Marks` has."""
        return len(Marks._fields)

    def value(self, metric: str, looked: Num[ndarray, "texts ..."], labels: Labels, outputs: int) -> float:
        """entity_f1: of all entities of all texts together, as conlleval and seqeval count them; word_accuracy: the
        share of words with the right tag."""
        right, found, wanted, right_words, words = looked.sum(axis=0)
        if metric == "word_accuracy":
            return float(right_words / words) if words else float("nan")
        return float(2 * right / (found + wanted)) if found + wanted else float("nan")

    def undefined(self, metric: str) -> str:
        """There is no entity at all."""
        return "no text has an entity, and none is found"

    def _agreement(self, answers: Float32[ndarray, "texts answers"], other: Float32[ndarray, "texts answers"]) -> Score:
        """The share of words with equal tags."""
        there = (answers != ABSENT) | (other != ABSENT)
        return proportion(int((answers == other)[there].sum()), max(1, int(there.sum())))

    def differences(
        self, expected: Float32[ndarray, "texts ..."], found: Float32[ndarray, "texts ..."], output: str
    ) -> Differences:
        """The root mean square of each text's differences, divided by the standard deviation over all tokens; the share
        of tokens with equal tags."""
        inside = expected[..., 0] != OUTSIDE
        spread = float(expected[inside].std(axis=0).mean()) or 1.0
        squares = ((expected - found) ** 2).mean(axis=-1) * inside
        by_text = np.sqrt(squares.sum(axis=1) / inside.sum(axis=1).clip(min=1))
        agreement = float((expected.argmax(-1) == found.argmax(-1))[inside].mean())
        return Differences(by_text / spread, float(np.sqrt(squares[inside].mean())) / spread, agreement)

    def told(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        signature: Signature | None,
        label_names: Sequence[str],
    ) -> Sequence[Answer]:
        """A `Tags` each, of the words of the text as a person writes it."""
        made = []
        for encoding, output in zip(encodings, outputs, strict=True):
            words = list(tagged(output, encoding, label_names))
            text, tags = encoding.text[0], [tag or NOTHING for _, tag in words]
            found = []
            for kind, first, last in entities(tags):
                begin, end = words[first][0][0], words[last][0][1]
                found.append(Found(label=kind, text=text[begin:end], begin=begin, end=end))
            made.append(Tags(truncated=encoding.truncated, entities=tuple(found)))
        return made

    def said(
        self,
        outputs: Float32[ndarray, "texts ..."],
        encodings: Sequence[Encoding],
        label_names: Sequence[str],
        signature: Signature | None = None,
    ) -> Sequence[str | None]:
        """The tags of the words, with a space between them."""
        made = []
        for row, encoding in zip(outputs, encodings, strict=True):
            made.append(" ".join(tag or NOTHING for _, tag in tagged(row, encoding, label_names)))
        return made

    def golden_outputs(self, outputs: Float32[ndarray, "..."], tokens: int) -> list[float]:
        """The logits of the first token, then those of the second, and so on."""
        return super().golden_outputs(outputs[:tokens], tokens)

    def from_golden(self, rows: Sequence[Sequence[float]], tokens: Sequence[int]) -> Float32[ndarray, "texts ..."]:
        """[texts, tokens of the longest, labels]."""
        each = len(rows[0]) // tokens[0]
        made = np.full((len(rows), max(tokens), each), OUTSIDE, np.float32)
        for answer, row, count in zip(made, rows, tokens, strict=True):
            answer[:count] = np.asarray(row, np.float32).reshape(count, -1)
        return made


def given_words(text: str) -> list[tuple[int, int]]:
    """Begin and end of the words of a text that was made of a list of words: a space stands between any two."""
    found, begin = [], 0
    for word in text.split(" ") if text else ():
        found.append((begin, begin + len(word)))
        begin += len(word) + 1
    return found


def words_of(text: str) -> list[tuple[int, int]]:
    """Begin and end of the words of a text as a person writes it: parted at spaces, and signs at their beginning and
    end by themselves."""
    found: list[tuple[int, int]] = []
    begin = 0
    for piece in text.split():
        start = text.index(piece, begin)
        end = begin = start + len(piece)
        first, last = start, end
        while first < end and not _is_of_a_word(text[first]):
            first += 1
        while last > first and not _is_of_a_word(text[last - 1]):
            last -= 1
        found += [(place, place + 1) for place in range(start, first)]
        found += [(first, last)] if last > first else []
        found += [(place, place + 1) for place in range(last, end)]
    return found


def first_tokens(encoding: Encoding, words: Sequence[tuple[int, int]]) -> Int64[ndarray, " words"]:
    """The first token of each word; ABSENT where the word was cut off."""
    places = _of(encoding)
    real = np.flatnonzero((places[:, 0] >= 0) & (places[:, 1] > places[:, 0]))
    made = np.full(len(words), ABSENT, np.int64)
    at = 0
    for number, (begin, end) in enumerate(words):
        while at < len(real) and places[real[at], 1] <= begin:
            at += 1
        if at < len(real) and places[real[at], 0] < end:
            made[number] = real[at]
    return made


def tagged(
    outputs: Float32[ndarray, "tokens labels"], encoding: Encoding, label_names: Sequence[str]
) -> Iterator[tuple[tuple[int, int], str | None]]:
    """Begin and end of each word of a text as a person writes it, and its tag; None where the word was cut off."""
    words = words_of(encoding.text[0])
    for word, token in zip(words, first_tokens(encoding, words), strict=True):
        yield word, label_names[int(outputs[token].argmax())] if token >= 0 else None


def entities(tags: Sequence[str]) -> list[Entity]:
    """Type, first and last word of each entity that IOB2 tags mark.

    An `I-` that follows no tag of its type begins an entity of its own, as conlleval and seqeval have it.
    """
    found: list[Entity] = []
    kind, begin = "", 0
    for place, tag in enumerate([*tags, NOTHING]):
        mark, _, named = tag.partition("-")
        inside = mark == "I" and named == kind
        if kind and not inside:
            found.append((kind, begin, place - 1))
            kind = ""
        if not kind and mark in ("B", "I"):
            kind, begin = named or "_", place
    return found


def _marks(given: Float32[ndarray, " words"], gold: Int64[ndarray, " words"], names: Sequence[str]) -> Sequence[float]:
    if not np.isfinite(given).all():
        return [np.nan] * len(Marks._fields)
    count = int((gold != ABSENT).sum())
    wanted = [names[int(tag)] for tag in gold[:count]]
    padded = np.concatenate([given, np.full(max(0, count - len(given)), ABSENT, np.float32)])[:count]
    found = [names[int(tag)] if tag != ABSENT else NOTHING for tag in padded]
    ours, theirs = entities(found), entities(wanted)
    right_words = sum(one == other for one, other in zip(found, wanted, strict=True))
    return Marks(len(set(ours) & set(theirs)), len(ours), len(theirs), right_words, count)


def _tags(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list | tuple) and all(isinstance(tag, str | int) for tag in value):
        return [str(tag).strip() for tag in value]
    return None


def _named(tags: Sequence[str], classes: tuple[str, ...] | None) -> list[str]:
    """Names of class numbers, where the data set has some."""
    if classes is None:
        return list(tags)
    return [classes[int(tag)] if tag.isdecimal() and int(tag) < len(classes) else tag for tag in tags]


def _is_of_a_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _places(row: Any, text: str) -> Int64[ndarray, "tokens 2"]:
    """The characters of each token, without spaces at its beginning, which some tokenizers count to it; -1 for tokens
    that stand for none."""
    made = np.full((len(row.ids), 2), -1, np.int64)
    for place, ((begin, end), sequence) in enumerate(zip(row.offsets, row.sequence_ids, strict=True)):
        if sequence is not None:
            piece = text[begin:end]
            made[place] = begin + len(piece) - len(piece.lstrip()), end
    return made


def _of(encoding: Encoding) -> Int64[ndarray, "tokens 2"]:
    assert encoding.places is not None, "encode words with HostTokenizer.of(..., signature of token_logits)"
    return encoding.places
