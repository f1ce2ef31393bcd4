"""Which layers bear coarse weights badly: each one's harm, and the fewest to keep finer so that the task's metric
hardly drops."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from palmtop.errors import UserError


@dataclass(frozen=True)
class Harm:
    """What quantizing one layer alone does to the answers."""

    layer: str
    harm: float
    """Root mean square of the change, as a share of the outputs' spread."""


@dataclass(frozen=True)
class Choice:
    """What was kept finer, and what that gave."""

    kept: tuple[str, ...]
    drop: float
    """Points of the main metric lost on the float file."""
    drop_before: float
    """The same with no layer kept."""
    harms: tuple[Harm, ...]
    """Worst first; empty when nothing had to be kept."""
    tried: dict[int, float] = field(default_factory=dict)
    """Drops by how many layers were kept."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {
            "kept_layers": list(self.kept),
            "drop_points": round(self.drop, 3),
            "drop_points_before": round(self.drop_before, 3),
            "harms": {one.layer: float(f"{one.harm:.3g}") for one in self.harms},
            "drop_points_by_kept": {str(kept): round(drop, 3) for kept, drop in sorted(self.tried.items())},
        }


def choose(
    layers: Sequence[str], harm_of: Callable[[str], float], drop_of: Callable[[Sequence[str]], float], max_drop: float
) -> Choice:
    """Keep the layers whose quantizing harms most, as few as it takes.

    Args:
        harm_of: the harm of quantizing this layer and no other.
        drop_of: points of the metric lost when all but these layers are quantized.
        max_drop: points that may be lost.

    How many is found by bisection: the drop shrinks with each layer kept, as a rule; the choice itself was measured to
    fit.

    Raises:
        UserError: the drop is larger even with every layer kept.
    """
    before = drop_of(())
    if before <= max_drop:
        return Choice((), before, before, ())
    harms = sorted((Harm(layer, harm_of(layer)) for layer in layers), key=lambda one: -_finite(one.harm))
    worst = [one.layer for one in harms]
    tried = {0: before, len(worst): drop_of(worst)}
    if not tried[len(worst)] <= max_drop:
        raise UserError(
            f"quantizing so costs {tried[len(worst)]:.2f} points even with every layer kept in higher precision "
            f"({before:.2f} with none), more than max_drop {max_drop:g}: take a finer scheme, or raise max_drop"
        )
    too_few, enough = 0, len(worst)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        tried[middle] = drop_of(worst[:middle])
        too_few, enough = (too_few, middle) if tried[middle] <= max_drop else (middle, enough)
    return Choice(tuple(worst[:enough]), tried[enough], before, tuple(harms), tried)


def _finite(harm: float) -> float:
    return harm if math.isfinite(harm) else math.inf
