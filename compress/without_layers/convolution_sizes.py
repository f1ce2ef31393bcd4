"""Sizes of convolution students, by what their int8 file takes with its tokenizer."""

from dataclasses import dataclass
from typing import Literal

Megabytes = Literal["0.5", "1", "2", "4", "6"]


@dataclass(frozen=True)
class Shape:
    """What decides a student's size."""

    vocabulary: int
    """Tokens, at most."""
    embedding_size: int
    """Numbers in a token's vector."""
    width: int
    """Numbers in a token's state."""
    layers: int
    """Convolutions."""


SIZES: dict[Megabytes, Shape] = {
    "0.5": Shape(4500, 48, 64, 2),
    "1": Shape(7500, 64, 96, 3),
    "2": Shape(11000, 96, 128, 4),
    "4": Shape(16000, 144, 192, 4),
    "6": Shape(20000, 192, 224, 4),
}
"""Of gated convolutions of three tokens, two labels, and an English WordPiece vocabulary."""
