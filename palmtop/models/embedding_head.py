"""What config.json says of the head of a sentence embedding."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

KEY = "palmtop_embedding"
"""In config.json."""
MEAN = "mean"


@dataclass(frozen=True)
class Head:
    """How the states of a text's tokens become its vector."""

    pooling: str = MEAN
    """mean, cls or max, over the real tokens."""
    normalize: bool = True
    """Whether the vector is brought to length 1."""
    width: int | None = None
    """The vector's first numbers that are kept; None: all."""

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Self:
        """As config.json has it."""
        return cls(**written)

    def written(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)
