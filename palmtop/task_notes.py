"""What a task's data says about itself beyond faults of single rows: splits that share texts, and what may not be
meant."""

from collections.abc import Mapping
from dataclasses import dataclass

from palmtop.data.encoding import plain
from palmtop.errors import UserError
from palmtop.task import Split, SplitName, Task
from palmtop.unlabelled import unlabelled

PAIRS: tuple[tuple[SplitName, SplitName], ...] = (
    ("evaluation", "train"),
    ("validation", "train"),
    ("evaluation", "validation"),
)
"""Which splits should share no texts: the first is measured on, the second was learnt or chosen on."""
TELLING = 10
"""Fewer texts of evaluation may all be in the training data by chance."""
WORTH_A_WORD = 0.01
"""From this share on it is told that texts of one split are in another: short texts repeat."""


@dataclass(frozen=True)
class Noticed:
    """What was noticed, a line each."""

    faults: tuple[str, ...]
    """What makes every number of a run meaningless."""
    notes: tuple[str, ...]
    """What may be meant."""


def noticed(task: Task, splits: Mapping[SplitName, Split]) -> Noticed:
    """What there is to tell about a task whose splits, all of them, are loaded: texts in two splits, labels nobody can
    learn, labels and texts that look like something else."""
    faults: list[str] = []
    notes: list[str] = []
    for pair in PAIRS:
        if splits.keys() >= set(pair):
            _compare(task, splits, pair, faults, notes)
    notes += task.of_kind.doubts(task, {name: split.labels for name, split in splits.items()})
    for name, split in splits.items():
        notes += _of_texts(task, name, split)
    if task.unlabelled:
        try:
            notes.append(unlabelled(task).told)
        except UserError as error:
            faults += error.faults
    return Noticed(tuple(faults), tuple(notes))


def _compare(
    task: Task,
    splits: Mapping[SplitName, Split],
    pair: tuple[SplitName, SplitName],
    faults: list[str],
    notes: list[str],
) -> None:
    one, other = pair
    known = {plain(text) for text in splits[other].texts}
    total = len(splits[one])
    twice = sum(plain(text) in known for text in splits[one].texts)
    there = {"train": "training data", "validation": "validation split"}.get(other, other)
    if pair == ("evaluation", "train") and twice == total >= TELLING:
        faults.append(
            f"all {total} texts of the evaluation split ({task.evaluation.shown}) are in the {there} too: what is "
            "measured on them says nothing about other texts; keep some rows for evaluation that are not trained on"
        )
    elif twice >= max(1, WORTH_A_WORD * total):
        notes.append(
            f"{twice} of {total} texts of the {one} split ({twice / total:.0%}) are in the {there} too: numbers "
            f"measured on them flatter; remove them from one of the two"
        )


def _of_texts(task: Task, name: SplitName, split: Split) -> list[str]:
    source = getattr(task, name)
    told = []
    if source.file and ".tsv" in source.file and source.quoting is None:
        quoted = sum(_is_quoted(part) for text in split.texts for part in text)
        if quoted:
            told.append(
                f"{source.shown}: {quoted} text{'s begin and end' if quoted > 1 else ' begins and ends'} with a quote "
                "sign, which a .tsv keeps: if a program such as pandas put them there, write {file: ..., quoting: "
                "standard}, else quoting: none"
            )
    words = sum(part.strip().lower() in {"nan", "none", "null"} for text in split.texts for part in text)
    if words:
        told.append(
            f"{source.shown}: {words} text{'s are' if words > 1 else ' is'} the word nan, none or null, as programs "
            "write no value: remove these rows if there is no text"
        )
    return told


def _is_quoted(part: str) -> bool:
    return len(part) > 1 and part[0] == part[-1] == '"'
