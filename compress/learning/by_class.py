"""Rows in an order that brings texts of one class into one batch, for losses that compare them there."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from numpy import ndarray

TOGETHER = 4
"""Rows of a class that follow each other: each has three positives then, and a batch of 32 has eight classes."""


class GroupedByClass:
    """Row numbers, shuffled anew in each epoch, with up to four of a class one after the other (Schroff et al. 2015,
    section 3.2, draws some 40 of each into batches of 1,800).

    Each row comes once in an epoch. The order depends on seed and epoch alone, as that of `GroupedByLength`.
    """

    def __init__(self, classes: Int[ndarray, " rows"], seed: int) -> None:
        self._classes, self._seed = classes, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._seed, self.epoch))
        shuffled = random.permutation(len(self._classes))
        groups = []
        for value in np.unique(self._classes):
            members = shuffled[self._classes[shuffled] == value]
            groups += [members[start : start + TOGETHER] for start in range(0, len(members), TOGETHER)]
        for place in random.permutation(len(groups)):
            yield from groups[place].tolist()
