"""What every export and every quantization ends with: the file holds each weight once, and answers as what it was made
of."""

from pathlib import Path
from typing import Any

from palmtop import parity
from palmtop.bundle import Format
from palmtop.export import stored_once


def check(
    reference: tuple[Format, Path], artefact: tuple[Format, Path], tolerance: float, answers: bool = True
) -> dict[str, Any]:
    """Facts of a file that was just written: matrices stored, and parity with `reference` (format and folder).

    Args:
        answers: whether they are compared. What learnt nothing gives all texts nearly the same answer, so that rounding
            is all they differ by; nobody asks such a file anything.

    Raises:
        UserError: it answers otherwise by more than `tolerance`, as a share of the outputs' spread.
        RuntimeError: it holds a weight twice.
    """
    stored = stored_once.check(*artefact)
    return stored | parity.check(reference, artefact, tolerance).facts() if answers else stored
