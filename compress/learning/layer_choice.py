"""Which of a teacher's layers a student starts from, and which it is compared with: two rules that differ on
purpose."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from palmtop.errors import UserError

Choice = Literal["spread", "lower", "published"]
"""Which layers a number of them means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""


def start_layers(wanted: int | tuple[int, ...], choose: Choice, teacher_layers: int) -> list[int]:
    """The teacher's layers (0-based) that a student of so many layers, or of these, starts from.

    Raises:
        UserError: there are not so many, or a list that doesn't fit.
    """
    if isinstance(wanted, tuple):
        return explicit_layers(wanted, teacher_layers)
    if not 1 <= wanted <= teacher_layers:
        raise UserError(f"layers is {wanted}, but there are {teacher_layers}: choose 1 to {teacher_layers}")
    if choose == "published":
        return published_layers(teacher_layers, wanted)
    return spread_layers(teacher_layers, wanted) if choose == "spread" else list(range(wanted))


def spread_layers(teacher_layers: int, student_layers: int) -> list[int]:
    """Layers (0-based) that a student starts from: first and last kept, the rest spread evenly.

    round(linspace(0, L_t - 1, L_s)): DistilBERT's {0, 2, 4, 7, 9, 11} for 12 -> 6. A single layer is the first.
    """
    return [round(float(place)) for place in np.linspace(0, teacher_layers - 1, student_layers)]


PUBLISHED = {
    (6, 1): (0,),
    (6, 2): (0, 5),
    (6, 3): (0, 2, 5),
    (6, 4): (0, 1, 3, 5),
    (12, 1): (0,),
    (12, 2): (0, 6),
    (12, 3): (0, 6, 11),
    (12, 4): (0, 4, 8, 11),
    (12, 6): (0, 2, 4, 7, 9, 11),
    (12, 9): (0, 1, 2, 4, 5, 7, 9, 10, 11),
    (16, 2): (0, 15),
    (16, 3): (0, 8, 15),
    (16, 4): (0, 5, 10, 15),
    (16, 6): (0, 3, 6, 9, 12, 15),
    (16, 8): (0, 2, 4, 6, 8, 10, 12, 15),
    (16, 9): (0, 1, 3, 5, 7, 9, 11, 13, 15),
    (16, 12): (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15),
}
"""(L_t, L_s) -> layers that Shleifer and Rush 2020 (2010.13002) start from; where `spread_layers` differs, for exact
reproduction."""


def published_layers(teacher_layers: int, student_layers: int) -> list[int]:
    """Layers (0-based) of the published table.

    Raises:
        UserError: the table has no such pair.
    """
    if (teacher_layers, student_layers) not in PUBLISHED:
        known = ", ".join(f"{theirs} to {ours}" for theirs, ours in PUBLISHED)
        raise UserError(
            f"no table of layers was published for {teacher_layers} to {student_layers} (there are {known}): choose "
            "spread or lower"
        )
    return list(PUBLISHED[teacher_layers, student_layers])


def explicit_layers(layers: tuple[int, ...], teacher_layers: int) -> list[int]:
    """A list of layers (0-based) as given, checked.

    Raises:
        UserError: a layer that the teacher has not, or a list that is not ascending.
    """
    if not layers or min(layers) < 0 or max(layers) >= teacher_layers or sorted(set(layers)) != list(layers):
        raise UserError(
            f"layers is {list(layers)}: give layers of the teacher in ascending order, each once, from 0 to "
            f"{teacher_layers - 1}"
        )
    return list(layers)


def uniform_map(teacher_layers: int, student_layers: int) -> list[int]:
    """The teacher's layer that each of the student's layers 1..L_s imitates: g(m) = m L_t / L_s, the ends of equal
    blocks.

    Counted as in `hidden_states`, where 0 is the embeddings' output: {3, 6, 9, 12} for 12 -> 4 (TinyBERT, Jiao et al.
    2020, 1909.10351, 3.1). These are not the layers that DistilBERT starts from (`spread_layers`); a student that
    imitates layer by layer starts from them.

    Raises:
        UserError: L_s doesn't divide L_t.
    """
    block, rest = divmod(teacher_layers, student_layers)
    if rest:
        whole = [count for count in range(1, teacher_layers + 1) if teacher_layers % count == 0]
        raise UserError(
            f"{student_layers} layers can't imitate {teacher_layers} in equal blocks: choose "
            f"{', '.join(map(str, whole))} layers, or say in layer_map which layer of the teacher each of the "
            "student's imitates"
        )
    return [block * layer for layer in range(1, student_layers + 1)]


def explicit_map(layers: Sequence[int], teacher_layers: int, student_layers: int) -> list[int]:
    """A map as given, checked: for each of the student's layers one of the teacher's, 1 to L_t, never descending.

    Raises:
        UserError: one that doesn't fit.
    """
    if (
        len(layers) != student_layers
        or not all(1 <= layer <= teacher_layers for layer in layers)
        or sorted(layers) != list(layers)
    ):
        raise UserError(
            f"layer_map is {list(layers)}: give {student_layers} layers of the teacher, one for each of the "
            f"student's, ascending, from 1 (the first) to {teacher_layers} (the last)"
        )
    return list(layers)
