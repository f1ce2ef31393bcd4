"""The words of labels as a stranger's column has them: which can be labels, and which look like one label in two
spellings."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from palmtop.data.rows import SHOWN, have
from palmtop.errors import UserError, clipped

UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, halves of characters, and line and paragraph separators: labels.txt has a
label a line, and what prints a label prints them."""

NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{0,15})?", re.ASCII)
LISTED = 12
"""So many labels a message writes out as a mapping."""

MANY_NUMBERS = 10
"""From so many labels on that are all numbers, they may be amounts; with decimals, from MANY_DECIMALS on."""
MANY_DECIMALS = 3

BETWEEN = "|;,"
"""What stands between several labels in one field; the first of them that is there parts it."""


def is_blank(value: Any) -> bool:
    """Whether a field holds nothing: no value, NaN (what pandas writes for none), or only spaces."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def numbers(values: Sequence[Any], column: str, where: str, meant: str = "") -> list[float]:
    """A column of numbers.

    Args:
        meant: what the numbers are, for a message.

    Raises:
        UserError: rows without a finite number, by number.
    """
    found = [_finite(value) for value in values]
    wrong = [row for row, number in enumerate(found, 1) if number is None]
    if wrong:
        first = clipped(values[wrong[0] - 1])
        raise UserError(
            f"{where}: {have(wrong)} no finite number in column '{column}' (the first: {first})"
            + (f": {meant}" if meant else "")
        )
    return [number for number in found if number is not None]


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def checked(words: Iterable[str], column: str, where: str) -> tuple[str, ...]:
    """Labels that nobody listed, sorted.

    Raises:
        UserError: one has a line break or another control character, or some differ by nothing but spaces, capitals or
            the form of their characters; with how to mend it.
    """
    found = tuple(sorted(set(words)))
    faults = [f"{where}: {fault}" for word in found if (fault := unfit(word, column))]
    if alike := [group for group in _alike(found) if len(group) > 1]:
        shown = "; ".join(", ".join(_told_apart(group)) for group in alike[:SHOWN])
        pairs = [f"{_quoted(word)}: {_quoted(_chosen(group))}" for group in _alike(found) for word in group]
        merged = ", ".join(pairs[:LISTED]) + (", ..." if len(pairs) > LISTED else "")
        faults.append(
            f"{where}: labels in column '{column}' differ by spaces, capitals or form alone: {shown}"
            f"{'; ...' if len(alike) > SHOWN else ''}: write them alike, or merge them in the task with labels: "
            f"{{{merged}}}; or list every label under 'labels', if they are different ones"
        )
    if faults:
        raise UserError(faults)
    return found


def unfit(word: str, column: str) -> str | None:
    """Why a word can't be a label, or None."""
    odd = next((letter for letter in word if unicodedata.category(letter) in UNFIT), None)
    if odd is None:
        return None
    what = "a line break" if odd in "\n\r\x85\u2028\u2029" else f"a control character ({odd!a})"
    return f"the label {clipped(word)} in column '{column}' has {what} in it: write it on one line, in plain text"


def refuse_other_kinds(values: Sequence[Any], column: str, where: str) -> None:
    """Raises: UserError: rows whose label is a list or an object, not a word."""
    lists = [row for row, value in enumerate(values, 1) if isinstance(value, list | tuple) or is_written_list(value)]
    if lists:
        raise UserError(
            f"{where}: {have(lists)} a list of labels in column '{column}' (the first: "
            f"{clipped(values[lists[0] - 1])}): a task of several labels a text is of kind: multi_label"
            + (", with | between the labels" if isinstance(values[lists[0] - 1], str) else "")
        )
    objects = [row for row, value in enumerate(values, 1) if isinstance(value, dict)]
    if objects:
        raise UserError(
            f"{where}: {have(objects)} an object, no label, in column '{column}' (the first: "
            f"{clipped(values[objects[0] - 1])}): write the label itself"
        )


def refuse_several_in_one(words: Sequence[str], column: str, where: str) -> None:
    """Raises: UserError: some of the labels are others of them with |, ; or a comma between them."""
    known = set(words)
    for mark in BETWEEN:
        several = [word for word in words if mark in word and _parts(word, mark) <= known]
        if several:
            raise UserError(
                f"{where}: labels in column '{column}' are several in one: {', '.join(map(repr, several[:SHOWN]))}"
                f"{', ...' if len(several) > SHOWN else ''}: a task of several labels a text is of kind: multi_label; "
                "list all labels under 'labels' in the task, if each is one"
            )


def spelled_otherwise(word: str, known: Iterable[str]) -> str | None:
    """The known label that differs from `word` by spaces, capitals or form alone, or None."""
    return next((other for other in known if other != word and _folded(other) == _folded(word)), None)


def as_known(value: bool, known: Mapping[str, Any] | Sequence[str]) -> str:
    """The label that a JSON true or false is: as JSON writes it where the task lists it so, else as Python does."""
    return str(value).lower() if str(value).lower() in known and str(value) not in known else str(value)


def is_written_list(value: Any) -> bool:
    """Whether a text is how a program writes a list of words: ['a', 'b'] or ["a"]."""
    return isinstance(value, str) and re.fullmatch(r"\s*\[\s*(['\"]).*\1\s*\]\s*", value, re.DOTALL) is not None


def are_lists(values: Sequence[Any]) -> bool:
    """Whether fields are lists of words or of numbers of classes, or written so; some may be empty."""
    given = [value for value in values if not is_blank(value)]
    return bool(given) and all(
        is_written_list(value)
        or (isinstance(value, list | tuple) and all(isinstance(word, str | int) for word in value))
        for value in given
    )


def are_amounts(words: Iterable[str], decimals: bool = False) -> bool:
    """Whether labels are all numbers, and more of them than classes would be.

    Args:
        decimals: ask for decimals too: numbers of classes may be many.
    """
    found = set(words)
    try:
        numbers = [float(word) for word in found]
    except ValueError:
        return False
    broken = any(not number.is_integer() for number in numbers)
    return (len(found) > MANY_NUMBERS and not decimals) or (broken and len(found) >= MANY_DECIMALS)


def _parts(word: str, mark: str) -> set[str]:
    return {part.strip() for part in word.split(mark) if part.strip()} or {""}


def _alike(words: Iterable[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for word in words:
        groups[_folded(word)].append(word)
    return list(groups.values())


def _folded(word: str) -> str:
    """A word without what the eye passes over: capitals, spaces, characters without width; of a number its value, as
    programs write 1 and 1.0 for the same."""
    if NUMBER.fullmatch(word.strip()):
        return str(float(word))
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    return "".join(letter for letter in plain if not letter.isspace() and unicodedata.category(letter) != "Cf")


def _told_apart(group: Sequence[str]) -> list[str]:
    """Labels in quotes; with their characters written out where they would look the same."""
    seen = {unicodedata.normalize("NFC", word) for word in group}
    return [repr(word) if len(seen) == len(group) else ascii(word) for word in group]


def _chosen(group: Sequence[str]) -> str:
    """Of several spellings the one without spaces around it, in small letters where there is one."""
    return min(group, key=lambda word: (word != word.strip(), word != word.lower(), word))


def _quoted(word: str) -> str:
    """A label as YAML has it, plain where that is safe."""
    return yaml.safe_dump([word], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]
