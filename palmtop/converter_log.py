"""Converters talk, from C++ too: what they say goes into a file, and its end is shown when they fail."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from palmtop.bundle import LOGS

CONVERSION = f"{LOGS}/convert.txt"
"""Where a bundle keeps what its converter said."""
SHOWN_CHARACTERS = 3000


@contextmanager
def captured(log: Path) -> Iterator[None]:
    """Append everything written to stdout and stderr meanwhile to a file, whose folder is made."""
    log.parent.mkdir(exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    try:
        with log.open("ab") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
        yield
    except BaseException:
        _restore(kept)
        print(log.read_text(encoding="utf-8", errors="replace")[-SHOWN_CHARACTERS:], file=sys.stderr)
        raise
    finally:
        _restore(kept)


def _restore(kept: list[int]) -> None:
    """Streams go where they went before, in every case: on a full disk what is still to be flushed can't be."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    while kept:
        descriptor = kept.pop()
        os.dup2(descriptor, len(kept) + 1)
        os.close(descriptor)
