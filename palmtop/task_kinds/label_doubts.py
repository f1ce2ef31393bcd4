"""What of a column of classes is no fault but may not be meant: a line each, for who checks a recipe."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num
from numpy import ndarray

from palmtop.data.rows import SHOWN
from palmtop.task_kinds.label_words import are_amounts

NOTHING = frozenset({"nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "-", "--", "?", "undefined"})
"""Words by which programs write that there is no value."""
LONG = 100
"""Characters beyond which a label may be a text."""
OWN_SHARE = 0.5
"""From so many labels a row on there is hardly a second row of any."""
NEARLY_ALL = 0.8
"""From this share of the rows on, one label alone makes an accuracy that looks good."""
LEAST_ROWS = 10
"""Fewer rows say nothing about how many labels are usual."""


def doubts(names: Sequence[str], column: str, train: Num[ndarray, " rows"], listed: bool) -> list[str]:
    """What may not be meant of the labels `names` of the training rows, class indices [rows].

    Args:
        listed: whether the task lists its labels: then they are meant as they are.
    """
    counts = np.bincount(train.astype(np.int64), minlength=len(names))
    told = [
        f"{count} row{'s have' if count > 1 else ' has'} the label '{name}' in column '{column}', as programs write no "
        "value: it is learnt as a class of its own; remove these rows if it isn't meant as one"
        for name, count in zip(names, counts, strict=True)
        if name.strip().lower() in NOTHING and count
    ]
    if listed:
        without = [name for name, count in zip(names, counts, strict=True) if not count]
        return told + ([_no_rows(without, "the training data", "the task lists, so it can't learn")] if without else [])
    spaced = [name for name in names if name != name.strip()]
    if spaced:
        told.append(
            f"{len(spaced)} of the labels in column '{column}' with a space at an end, which is part of the name "
            f"({_some(spaced)}): take it "
            "out of the file if it isn't meant"
        )
    long = [name for name in names if len(name) > LONG]
    if long:
        told.append(
            f"{len(long)} of the labels in column '{column}' with over {LONG} characters ('{long[0][:40]}...'): is "
            "this the column of the labels?"
        )
    if are_amounts(names):
        told.append(
            f"the {len(names)} labels in column '{column}' are all numbers ({_some(names)}): if they are amounts or "
            "ratings, set kind: regression (palmtop init --kind regression)"
        )
    if len(train) >= LEAST_ROWS and len(names) > OWN_SHARE * len(train):
        told.append(
            f"{len(names)} labels in column '{column}' for {len(train)} rows, most with one row only: is this the "
            "column of the labels?"
        )
    several = [name for name in names if "|" in name or ";" in name]
    if len(several) > OWN_SHARE * len(names):
        told.append(
            f"most labels in column '{column}' have | or ; in them ({_some(several)}): if that parts several labels of "
            "a text, set kind: multi_label (palmtop init --kind multi_label)"
        )
    return told


def unbalanced(names: Sequence[str], train: Num[ndarray, " rows"]) -> list[str]:
    """What accuracy says little of: one label has nearly all the training rows, class indices [rows]."""
    counts = np.bincount(train.astype(np.int64), minlength=len(names))
    share = counts.max() / max(1, len(train))
    if share < NEARLY_ALL or len(train) < LEAST_ROWS:
        return []
    return [
        f"'{names[int(counts.argmax())]}' is the label of {share:.0%} of the training rows: answering nothing else has "
        f"accuracy {share:.2f}, so choose and compare by another metric (metric: macro_f1, or matthews)"
    ]


def unlearnt(names: Sequence[str], train: set[int], other: Sequence[set[int]], split: str) -> list[str]:
    """The labels of another split that no training row has.

    Args:
        train: the places in `names` of all labels of the training rows.
        other: those of each row of the other split.
    """
    missing = sorted({place for row in other for place in row} - train)
    rows = sum(not row.isdisjoint(missing) for row in other)
    if not missing:
        return []
    shown = _some([names[place] for place in missing])
    return [
        f"{rows} row{'s' if rows > 1 else ''} of the {split} split {'have' if rows > 1 else 'has'} a label that no "
        f"training row has ({shown}): no model can get these right"
    ]


def _no_rows(names: Sequence[str], where: str, why: str) -> str:
    return f"{where} has no row of {len(names)} label{'s' if len(names) > 1 else ''} that {why}: {_some(names)}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
