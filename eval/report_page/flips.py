"""Flips: which texts get other labels from an artefact than from the teacher, by label, by length, and the worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palmtop.data.encoding import Text
from palmtop.eval.report_page.markup import (
    Markup,
    clip,
    element,
    folded,
    joined,
    not_kept,
    pair,
    paragraph,
    part,
    table,
)
from palmtop.eval.reports.found import Data, Found, names
from palmtop.eval.reports.table import Row

TITLE = "Which answers changed"
WORST = 20
MOST_LABELS = 30
"""Labels listed of an artefact; of the others it is said how many there are."""
PARTS = 4
"""The lengths are cut into so many parts of about as many texts."""

Given = Bool[ndarray, "texts labels"]
Shares = Float[ndarray, "texts labels"]


@dataclass(frozen=True)
class Flips:
    """Artefacts whose answers have the same labels, against the teacher's."""

    rows: tuple[Row, ...]
    taught: Given
    given: Given
    truth: Given | None
    """What the data says, where that can be set against answers label by label."""
    moved: Float[ndarray, " texts"]
    """Of each text, by how much the probability of a label that changed moved, at most; 0 where none changed."""

    @property
    def changed(self) -> Bool[ndarray, " texts"]:
        """The texts that get other labels."""
        different: Bool[ndarray, " texts"] = (self.taught != self.given).any(axis=1)
        return different

    def counts(self) -> tuple[int, int, int]:
        """Of the changed texts those that were right and are wrong now, those that were wrong and are right now, and
        those that are wrong both times."""
        if self.truth is None:
            return 0, 0, 0
        was, now = ((side == self.truth).all(axis=1)[self.changed] for side in (self.taught, self.given))
        return int((was & ~now).sum()), int((~was & now).sum()), int((~was & ~now).sum())


def flips(found: Found) -> Markup:
    """Every artefact against the teacher."""
    why = _untold(found)
    if why:
        return part(TITLE, why)
    assert found.data is not None
    every = against_teacher(found)
    total = len(found.data.split)
    head = ["model", "texts changed", "%", "right, now wrong", "wrong, now right", "wrong both times"]
    rows = [
        [
            names(each.rows, found),
            str(int(each.changed.sum())),
            f"{100 * each.changed.mean():.1f}",
            *map(str, each.counts()),
        ]
        for each in every
    ]
    first = next((each for each in every if found.advised in each.rows), every[0])
    return part(
        TITLE,
        paragraph(f"Of {total:,} evaluation texts those that get another label than from the teacher."),
        table("Texts changed", head, rows),
        *(_details(found, found.data, each, each is first) for each in every if each.changed.any()),
    )


def _untold(found: Found) -> Markup | None:
    if found.data is None:
        return not_kept(found.no_data)
    if not found.data.task.of_kind.ranks:
        return paragraph(f"the answers of {found.data.task.kind} are no labels of texts, so none of them flips")
    if found.teacher is None or found.answers(found.teacher) is None:
        return not_kept("the teacher's answers")
    if len(found.answered()) < 2:  # noqa: PLR2004  # the teacher's, and another's
        return not_kept("answers of any artefact but the teacher")
    return None


def against_teacher(found: Found) -> list[Flips]:
    """The artefacts whose answers were kept, those with the same labels together; as in the table."""
    assert found.data is not None and found.teacher is not None
    kind, outputs = found.data.task.of_kind, found.answers(found.teacher)
    assert outputs is not None
    taught, sure = kind.given(outputs), kind.likelihoods(outputs, found.signature(found.teacher))
    truth = _truth(found.data, taught)
    alike: list[Flips] = []
    for row in found.answered():
        mine = found.answers(row)
        if row == found.teacher or mine is None or mine.shape != outputs.shape:
            continue
        given = kind.given(mine)
        known = next((place for place, each in enumerate(alike) if np.array_equal(each.given, given)), None)
        if known is not None:
            alike[known] = Flips((*alike[known].rows, row), taught, given, truth, alike[known].moved)
            continue
        shares = kind.likelihoods(mine, found.signature(row))
        alike.append(Flips((row,), taught, given, truth, _moved(taught, given, sure, shares)))
    return alike


def _truth(data: Data, taught: Given) -> Given | None:
    """Labels as answers have them: class numbers, or 1 for each label that a text has."""
    labels = data.split.labels.astype(np.int64)
    if labels.ndim == 1:
        labels = np.arange(taught.shape[1]) == labels[:, None]
    truth: Given = labels > 0
    return truth if truth.shape == taught.shape else None


def _moved(taught: Given, given: Given, sure: Shares, shares: Shares) -> Float[ndarray, " texts"]:
    moved: Float[ndarray, " texts"] = np.where(taught != given, np.abs(sure - shares), 0).max(axis=1)
    return moved


def _details(found: Found, data: Data, each: Flips, opened: bool) -> Markup:
    return folded(
        f"{names(each.rows, found)}: {int(each.changed.sum())} texts",
        pair(_by_label(each, data.task.label_names), _by_length(each, data.split.texts)),
        _worst(each, data),
        opened=opened,
    )


def _by_label(each: Flips, label_names: Sequence[str]) -> Markup:
    lost, won = (each.taught & ~each.given).sum(axis=0), (each.given & ~each.taught).sum(axis=0)
    order = [int(place) for place in np.argsort(-(lost + won), kind="stable") if lost[place] + won[place]]
    rows = [
        [label_names[place], *(str(int(count[place])) for count in (each.taught.sum(axis=0), lost, won))]
        for place in order[:MOST_LABELS]
    ]
    rest = len(order) - len(rows)
    head = ["label", "texts by the teacher", "left it", "came to it"]
    return joined(
        [
            table("By label", head, rows),
            paragraph(f"{rest} more labels changed less.") if rest > 0 else "",
        ]
    )


def _by_length(each: Flips, texts: Sequence[Text]) -> Markup:
    rows = [
        [f"{low} to {high}" if low < high else f"{low}", str(total), str(changed), f"{100 * changed / total:.1f}"]
        for low, high, total, changed in by_length(np.array([_words(text) for text in texts]), each.changed)
    ]
    return table("By length", ["words", "texts", "changed", "%"], rows)


def by_length(lengths: ndarray, changed: Bool[ndarray, " texts"]) -> list[tuple[int, int, int, int]]:
    """Parts of the texts by their lengths, about as many in each, equal lengths in one: shortest, longest, texts,
    changed."""
    ends = np.unique(np.quantile(lengths, np.arange(1, PARTS + 1) / PARTS, method="inverted_cdf"))
    part_of = np.searchsorted(ends, lengths)
    return [
        (int(lengths[inside].min()), int(lengths[inside].max()), int(inside.sum()), int(changed[inside].sum()))
        for number in range(len(ends))
        if (inside := part_of == number).any()
    ]


def _words(text: Text) -> int:
    return sum(len(piece.split()) for piece in text)


def _worst(each: Flips, data: Data) -> Markup:
    order = np.argsort(-each.moved, kind="stable")[: min(WORST, int(each.changed.sum()))]
    label_names = data.task.label_names
    rows = [
        [
            _text(data.split.texts[place]),
            "" if each.truth is None else _labels(each.truth[place], label_names),
            _labels(each.taught[place], label_names),
            _labels(each.given[place], label_names),
            f"{100 * each.moved[place]:.0f}",
        ]
        for place in map(int, order)
    ]
    caption = f"The {len(rows)} whose probabilities moved most" if len(rows) > 1 else "The text"
    head = ["text", "in the data", "teacher", "this file", "moved by (hundredths)"]
    return element("div", table(caption, head, rows, words=4), class_="texts")


def _text(text: Text) -> Markup:
    return joined((element("span", clip(piece), class_="text") for piece in text), " ")


def _labels(given: Bool[ndarray, " labels"], label_names: Sequence[str]) -> str:
    return ", ".join(label_names[place] for place in map(int, np.flatnonzero(given))) or "(none)"
