"""Which token counts a file should accept: those that cost the user's own texts the fewest milliseconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
"""Lengths that a single one, and the longest of several, are chosen from."""
GRAIN = 8
"""Shorter ones of several are multiples of this: products work on that many rows at once."""
COVERED = 0.995
"""Share of the texts that a single length takes whole. Of several, the longest takes all: nobody pays for it but the
texts that need it."""
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Histogram:
    """How many texts have how many tokens, specials included."""

    counts: Int64[ndarray, " tokens"]

    @classmethod
    def of(cls, tokens: Sequence[int]) -> "Histogram":
        """The histogram of texts' token counts."""
        return cls(np.bincount(np.asarray(tokens, np.int64)))

    @property
    def texts(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def longest(self, share: float) -> int:
        """Tokens that so large a share of the texts doesn't exceed."""
        return int(np.searchsorted(self.counts.cumsum(), share * self.texts - 1e-9))

    def up_to(self, length: int) -> int:
        """Texts of at most so many tokens."""
        return int(self.counts[: length + 1].sum())

    def shares(self, lengths: Sequence[int]) -> Float64[ndarray, " lengths"]:
        """Share of the texts that run at each length, the shortest that takes them; what is too long is cut to the
        last."""
        within = [self.up_to(length) for length in lengths[:-1]] + [self.texts]
        return np.diff([0, *within]) / self.texts

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it: tokens of the training texts."""
        percentiles = {f"p{percent}": self.longest(percent / 100) for percent in PERCENTILES}
        return {"texts": self.texts, **percentiles, "longest": len(self.counts) - 1}


def longest_needed(histogram: Histogram, count: int, limit: int) -> int:
    """The longest length of `count`, at most the model's own limit."""
    needed = histogram.longest(COVERED if count == 1 else 1.0)
    return min(limit, next((step for step in STEPS if step >= needed), limit))


def probes(longest: int) -> tuple[int, ...]:
    """Three lengths at which milliseconds are measured, to read the others from the lines between."""
    return tuple(sorted({min(GRAIN, longest), max(GRAIN, longest // 2 // GRAIN * GRAIN), longest}))


def cheapest(histogram: Histogram, longest: int, count: int, ms: Callable[[int], float]) -> tuple[int, ...]:
    """At most `count` lengths, ascending, `longest` the last, of the least expected milliseconds over the texts.

    Dynamic programming over multiples of `GRAIN`: the best k lengths that end in one candidate are the best k - 1 that
    end in a shorter one, and it.

    Args:
        ms: milliseconds of an answer at a length.
    """
    candidates = [*range(GRAIN, longest, GRAIN), longest]
    within = [histogram.up_to(length) for length in candidates[:-1]] + [histogram.texts]
    best: list[tuple[float, tuple[int, ...]]] = [
        (within[end] * ms(length), (length,)) for end, length in enumerate(candidates)
    ]
    for _ in range(min(count, len(candidates)) - 1):
        best = [
            min(
                [
                    best[end],
                    *(
                        (best[start][0] + (within[end] - within[start]) * ms(length), (*best[start][1], length))
                        for start in range(end)
                    ),
                ],
                key=_cost_then_count,
            )
            for end, length in enumerate(candidates)
        ]
    return best[-1][1]


def expected_ms(histogram: Histogram, lengths: Sequence[int], milliseconds: Sequence[float]) -> float:
    """Mean milliseconds of an answer to one of the texts, when each runs at the shortest length that takes it."""
    return float(histogram.shares(lengths) @ np.asarray(milliseconds))


def cost_facts(histogram: Histogram, lengths: Sequence[int], milliseconds: Sequence[float]) -> dict[str, Any]:
    """What the lengths cost on the texts, beside what the longest alone would cost; measured in the file."""
    expected, padded = expected_ms(histogram, lengths, milliseconds), milliseconds[-1]
    names = [str(length) for length in lengths]
    return {
        "tokens": histogram.facts(),
        "ms_by_length": {name: round(ms, 3) for name, ms in zip(names, milliseconds, strict=True)},
        "share_by_length": {
            name: round(float(share), 4) for name, share in zip(names, histogram.shares(lengths), strict=True)
        },
        "expected_ms": round(expected, 3),
        "padded_ms": round(padded, 3),
        "length_cost": f"{expected:.2f} ms expected over {histogram.texts} training texts at {', '.join(names)} "
        f"tokens; {padded:.2f} ms if all were padded to {lengths[-1]}",
    }


def cost_facts_of_any(
    histogram: Histogram, padded_to: int, timed: int, own_ms: float, padded_ms: float
) -> dict[str, Any]:
    """What a file for any length costs on texts as they come, beside one length for all; measured in the file on some
    of them.

    Args:
        own_ms, padded_ms: means over the texts that were timed.
    """
    return {
        "tokens": histogram.facts(),
        "expected_ms": round(own_ms, 3),
        "padded_ms": round(padded_ms, 3),
        "length_cost": f"{own_ms:.2f} ms expected, over {timed} of {histogram.texts} training texts, each at its own "
        f"length; {padded_ms:.2f} ms if all were padded to {padded_to}",
    }


def _cost_then_count(found: tuple[float, tuple[int, ...]]) -> tuple[float, int]:
    return found[0], len(found[1])
