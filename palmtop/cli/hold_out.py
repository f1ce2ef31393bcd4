"""palmtop init --hold-out: one file of rows parted into those to train on and those to measure on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.errors import UserError

SEED = 0
"""The same rows of the same file are held out each time."""
LEAST, MOST = 0.01, 0.5


def hold_out(
    columns: Mapping[str, Sequence[Any]], texts: Sequence[str], label: str | None, share: float, made: tuple[Path, Path]
) -> None:
    """Write the rows to train on and those to measure on into two files; the rows stay as they are.

    Rows with the same text stay together. Each label keeps its share, and at least one row to train on.

    Args:
        columns: the rows, by column.
        texts: the columns with the text.
        label: the column with the label; None where it is a number.
        share: of the texts, for evaluation.
        made: the files, for training and for evaluation.

    Raises:
        UserError: a share out of range, or too few rows for one.
    """
    if not LEAST <= share <= MOST:
        raise UserError(f"--hold-out is {share}: between {LEAST} and {MOST}, the share of the rows to measure on")
    groups: dict[str, list[int]] = {}
    for row in range(len(columns[texts[0]])):
        groups.setdefault(json.dumps([columns[name][row] for name in texts]), []).append(row)
    firsts = [rows[0] for rows in groups.values()]
    strata = [str(columns[label][row]) if label else "" for row in firsts]
    chosen = _chosen(strata, share)
    if not chosen:
        raise UserError(
            f"--hold-out {share}: too few rows ({len(strata)}) to keep some of them for evaluation: give "
            "--evaluation, or a larger share"
        )
    held = {row for place, rows in enumerate(groups.values()) if place in chosen for row in rows}
    count = len(columns[texts[0]])
    for path, rows in zip(made, (sorted(set(range(count)) - held), sorted(held)), strict=True):
        lines = [
            json.dumps({name: values[row] for name, values in columns.items()}, ensure_ascii=False) for row in rows
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def refuse_overwriting(parts: tuple[Path, Path], data: Path, force: bool) -> None:
    """Raises: UserError: a part of a file would be written over the file itself, or over another without --force."""
    for path in parts:
        if path.exists() and path.samefile(data):
            raise UserError(f"the rows to train on would be written over {data} itself: give the recipe another name")
        if path.exists() and not force:
            raise UserError(f"{path} exists: choose another name for the recipe, or overwrite it with --force")


def _chosen(strata: Sequence[str], share: float) -> set[int]:
    """The places that are held out: of each stratum its share, rounded, never all."""
    order = np.random.default_rng(SEED).permutation(len(strata))
    members: dict[str, list[int]] = {}
    for place in order.tolist():
        members.setdefault(strata[place], []).append(place)
    return {
        place for places in members.values() for place in places[: min(round(share * len(places)), len(places) - 1)]
    }
