"""A task's texts without labels, clean: none that it is measured or chosen by, none that it has already."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from palmtop.data.encoding import Text, plain
from palmtop.errors import UserError, raise_all
from palmtop.task import SplitName, Task

LEAKS = ("evaluation", "validation")
"""Splits of which a text that is learnt from would flatter every number."""


@dataclass(frozen=True)
class Unlabelled:
    """What is left of a task's texts without labels."""

    texts: list[Text]
    read: int
    """How many there were."""
    dropped: Mapping[str, int]
    """How many were left out because they are a text of `evaluation`, `validation` or `train`, `repeated`, `empty` or
    too `long`."""

    @property
    def digest(self) -> str:
        """sha256 of the texts that are left."""
        return hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()

    @property
    def told(self) -> str:
        """What is left of them and why, in a line."""
        words = {
            "evaluation": "are texts of the evaluation split",
            "validation": "are texts of the validation split",
            "train": "are training texts",
            "repeated": "stand there twice",
            "empty": "are empty",
            "long": "are too long",
        }
        why = [f"{count:,} {words[reason]}" for reason, count in self.dropped.items()]
        left = f"unlabelled: {len(self.texts):,} of {self.read:,} texts"
        return f"{left}; dropped: {', '.join(why)}" if why else left


def unlabelled(task: Task) -> Unlabelled:
    """The task's texts without labels. Whatever is dropped is counted.

    Raises:
        UserError: faults of the files, told together; or nothing is left.
    """
    known = known_texts(task)
    kept: dict[Text, Text] = {}
    dropped: Counter[str] = Counter()
    texts = _read(task)
    for text in texts:
        own = plain(text)
        reason = _reason(task, text, known.get(own), own in kept)
        if reason is None:
            kept[own] = text
        else:
            dropped[reason] += 1
    ordered = {name: dropped[name] for name in (*LEAKS, "train", "repeated", "empty", "long") if dropped[name]}
    found = Unlabelled(list(kept.values()), len(texts), ordered)
    if not kept:
        raise UserError(f"{found.told}: there is nothing to learn from; give other texts, or leave 'unlabelled' out")
    return found


def known_texts(task: Task) -> dict[Text, SplitName]:
    """The texts of a task's splits as they are known again, each with its split: of several the one that counts
    most."""
    found: dict[Text, SplitName] = {}
    names: tuple[SplitName, ...] = ("evaluation", "validation", "train")
    for name in names:
        if name != "validation" or task.validation is not None:
            for text in task.load(name).texts:
                found.setdefault(plain(text), name)
    return found


def _read(task: Task) -> list[Text]:
    texts: list[Text] = []
    faults: list[str] = []
    for source in task.unlabelled:
        try:
            texts += task.plain_texts(source)
        except UserError as error:
            faults += error.faults
    raise_all(faults)
    return texts


def _reason(task: Task, text: Text, known: SplitName | None, twice: bool) -> str | None:
    """Why a text is left out; None where it isn't."""
    if not all(part.strip() for part in text):
        return "empty"
    if max(map(len, text)) > task.max_characters:
        return "long"
    return known or ("repeated" if twice else None)
