"""Files that are there whole or not at all, whenever the machine stops."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`, with the same ending, to write to; afterwards what was written is on the disk, and in the
    place of `path`. Where writing fails, `path` is as it was.

    Two processes must not write the same file at once.
    """
    beside = path.with_name(f".new.{path.name}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_durably(path: Path, text: str) -> None:
    """Write a text file so that after a crash it is there whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
