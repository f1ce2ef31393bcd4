"""A file to be quantized, whatever its format: its layers by name, and writing it with some of them kept finer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding


class Quantizable(ABC):
    """A source file and the scheme it is to be quantized by."""

    @classmethod
    @abstractmethod
    def of(cls, source: Bundle, scheme: str, calibration: "Calibration | None") -> Self:
        """The file of a float bundle.

        Args:
            scheme: one of those that the format's `Quantizer` names.
            calibration: of a static scheme.
        """

    @property
    @abstractmethod
    def files(self) -> frozenset[str]:
        """Names of the source's files that hold the model; the rest is copied."""

    @property
    @abstractmethod
    def kept_as(self) -> str:
        """The precision of a layer that is kept finer."""

    @abstractmethod
    def layers(self) -> list[str]:
        """Layers by name, in running order."""

    @abstractmethod
    def write(self, out: Path, kept: Sequence[str]) -> None:
        """Write the model into the folder `out`, in place of what is there, with the layers `kept` kept finer."""

    @abstractmethod
    def facts(self, out: Path) -> dict[str, Any]:
        """What is worth knowing of how the file in the folder `out` was made."""


@dataclass(frozen=True)
class Calibration:
    """What static quantization takes the ranges of activations from."""

    texts: Sequence[Encoding]
    """The user's own, of the training split."""
    others: Sequence[Encoding]
    """Texts apart, on which the ranges are tried."""
    percentile: float | None
    """So much of all values is kept, in the middle; None: all of them."""
    operators: Literal["linear", "all"]
    """What is computed in int8."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {
            "calibration_texts": len(self.texts),
            "ranges": "min_max" if self.percentile is None else f"percentile {self.percentile:g}",
            "static_operators": self.operators,
            "saturation_texts": len(self.others),
        }
