"""What 'palmtop init' takes a stranger's columns for: which hold the texts, which the label, and what kind of label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from palmtop import task_kinds
from palmtop.errors import UserError, did_you_mean, raise_all

TEXT_NAMES = (
    "text",
    "sentence",
    "utterance",
    "query",
    "question",
    "content",
    "review",
    "message",
    "comment",
    "tweet",
    "tokens",
    "words",
)
PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("first", "second"),
    ("question", "sentence"),
    ("question", "context"),
    ("anchor", "positive"),
)
PAIR = 2
LABEL_NAMES = (
    "label",
    "labels",
    "intent",
    "class",
    "category",
    "target",
    "sentiment",
    "score",
    "topic",
    "emotions",
    "tags",
    "ner_tags",
    "answers",
)


@dataclass(frozen=True)
class Columns:
    """The columns of the user's data."""

    texts: tuple[str, ...]
    label: str
    """Nothing where there is none: pairs alone."""


def guessed_columns(data: str, known: list[str], texts: tuple[str | None, str | None], label: str | None) -> Columns:
    """The columns that were named, checked, and the others as far as their names are plain.

    Args:
        data: the file or data set, for messages.
        known: the names of its columns.
        texts: the columns given for --text and --text2.
        label: the column given for --label.

    Raises:
        UserError: no such column, or names that leave room for doubt.
    """
    given = zip(("--text", "--text2", "--label"), (*texts, label), strict=True)
    raise_all(
        [_no_column(option, name, data, known) for option, name in given if name is not None and name not in known]
    )
    chosen = label or _only([name for name in known if name.lower() in LABEL_NAMES and name not in texts])
    named = tuple(name for name in texts if name) or _guessed_texts(
        [name for name in known if name != chosen], chosen is not None
    )
    if chosen is None and len(named) == PAIR == len(known):
        return Columns(named, "")
    if chosen is None or not named:
        lacking = " and ".join(option for option, there in (("--text", named), ("--label", chosen)) if not there)
        raise UserError(f"{data} has the columns {', '.join(known)}: say with {lacking} which are meant")
    return Columns(named, chosen)


def guessed_kind(rows: Mapping[str, Sequence[Any]], columns: Columns) -> str | None:
    """The one kind of task that the rows show, or None."""
    if not columns.label:
        kinds = {name: task_kinds.find(name) for name in task_kinds.names()}  # texts that are gone on from show nothing
        return _only([name for name, kind in kinds.items() if kind.label_optional and not kind.writes])
    texts, labels = rows[columns.texts[0]], rows[columns.label]
    return _only([name for name in task_kinds.names() if task_kinds.find(name).shows(texts, labels)])


def _no_column(option: str, name: str, data: str, known: list[str]) -> str:
    parts = [part.strip() for part in name.split(",")]
    if option == "--text" and len(parts) > 1 and set(parts) <= set(known):
        return f"--text is one column: give the two of a pair as --text {parts[0]} --text2 {parts[1]}"
    return f"{option}: {data} has no column '{name}'; {did_you_mean(name, known)}"


def _guessed_texts(known: list[str], label_known: bool) -> tuple[str, ...]:
    lower = {name.lower(): name for name in known}
    pairs = [pair for pair in PAIR_NAMES if set(pair) <= set(lower)]
    if len(pairs) == 1:
        return tuple(lower[name] for name in pairs[0])
    plain = _only([name for name in known if name.lower() in TEXT_NAMES]) or (_only(known) if label_known else None)
    return (plain,) if plain and not pairs else ()


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None
