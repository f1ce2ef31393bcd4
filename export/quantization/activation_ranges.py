"""Ranges of activations on a user's own texts, for static quantization, and how many new values fall outside them."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

MARGIN = 12.0
"""A softmax's input this far under its row's largest gives e^-12, 6e-6 of it, and may be cut off."""
BINS = 2048
"""Of the histogram that percentiles are read from."""
SHOWN = 5
"""Saturating activations that a bundle's card names."""

Key = TypeVar("Key", bound=Hashable)
Run = Callable[[], Iterator[tuple[Key, Float32[ndarray, "..."]]]]
"""Runs the float model on texts and gives each activation of each, by its key."""


@dataclass(frozen=True)
class Range:
    """What a static file can represent of an activation."""

    low: float
    high: float


@dataclass(frozen=True)
class Saturation:
    """An activation that leaves its range on texts it wasn't calibrated with."""

    name: str
    share: float
    """Of its values that are cut."""
    beyond: float
    """How far the farthest lies outside, as a share of the range."""


def measure(run: Run[Key], percentile: float | None, softmax: Collection[Key] = ()) -> dict[Key, Range]:
    """The range of each activation.

    Args:
        percentile: keep so much of all values, in the middle; None: from the least to the greatest.
        softmax: activations that a softmax reads: cut below at the least of their rows' largest, less `MARGIN`.
    """
    found: dict[Key, Range] = {}
    for key, values in run():
        low = float(values.max(axis=-1).min()) - MARGIN if key in softmax else float(values.min())
        before = found.get(key, Range(low, low))
        found[key] = Range(min(before.low, low), max(before.high, float(values.max())))
    return found if percentile is None else _trimmed(found, run(), percentile, softmax)


def saturations(
    run: Run[Key], ranges: Mapping[Key, Range], floored: Collection[Key], name_of: Callable[[Key], str]
) -> list[Saturation]:
    """The activations that these texts drive out of their ranges, worst first; those `floored` were cut below on
    purpose."""
    outside: dict[Key, tuple[int, int, float]] = {}
    for key, values in run():
        low, high = (-np.inf if key in floored else ranges[key].low), ranges[key].high
        cut = int(((values > high) | (values < low)).sum())
        beyond = max(0.0, float(values.max()) - high, low - float(values.min())) / (high - ranges[key].low or 1.0)
        counted, total, worst = outside.get(key, (0, 0, 0.0))
        outside[key] = (counted + cut, total + values.size, max(worst, beyond))
    found = [Saturation(name_of(key), cut / total, beyond) for key, (cut, total, beyond) in outside.items() if cut]
    return sorted(found, key=lambda one: -one.beyond)


def facts(found: Sequence[Saturation], activations: int) -> dict[str, Any]:
    """As a bundle's card holds it."""
    worst = [
        {"tensor": one.name, "share": float(f"{one.share:.2g}"), "beyond": round(one.beyond, 3)}
        for one in found[:SHOWN]
    ]
    return {"activations": activations, "saturating_activations": len(found), "saturation_worst": worst}


def _trimmed(
    limits: dict[Key, Range],
    values: Iterator[tuple[Key, Float32[ndarray, "..."]]],
    percentile: float,
    softmax: Collection[Key],
) -> dict[Key, Range]:
    """The middle `percentile` per cent of each activation, to the width of a bin; a softmax's floor stays."""
    counts = {key: np.zeros(BINS, np.int64) for key in limits}
    for key, array in values:
        counts[key] += np.histogram(array, BINS, (limits[key].low, max(limits[key].high, limits[key].low + 1e-6)))[0]
    tail = (1 - percentile / 100) / 2
    trimmed = {}
    for key, limit in limits.items():
        shares = counts[key].cumsum() / max(1, counts[key].sum())
        low, high = int(np.searchsorted(shares, tail, "right")), int(np.searchsorted(shares, 1 - tail))
        step = (limit.high - limit.low) / BINS
        trimmed[key] = Range(limit.low + (0 if key in softmax else low) * step, limit.low + min(BINS, high + 1) * step)
    return trimmed
