"""The processes of a distributed run, as torchrun starts them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

POLL_SECONDS = 0.2


def rank() -> int:
    """This process' number in a distributed run; 0 when there is only one."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """How many processes the distributed run has; 1 when it isn't distributed."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def made_by_first(mark: Path, make: Callable[[], object]) -> None:
    """Have something made once for all processes of a distributed run: the first makes it, unless it is there; the
    others wait for it.

    Args:
        mark: the file that says that it is there whole: `make` writes it, durably, as the last thing.
    """
    if not mark.is_file() and rank() == 0:
        make()
    while not mark.is_file():
        time.sleep(POLL_SECONDS)
