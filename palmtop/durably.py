"""Files that are there whole or not at all, whenever the machine stops."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from numpy import ndarray


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path`, with the same ending, to write to; afterwards what was written is on the disk, and in the
    place of `path`. Where writing fails, `path` is as it was.

    Two processes must not write the same file at once.

    Raises:
        OSError: it can't be written; the error names `path`, also where Python's own doesn't.
    """
    beside = path.with_name(f".new.{path.name}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)


def write_durably(path: Path, text: str) -> None:
    """Write a text file so that after a crash it is there whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_array_durably(path: Path, array: "Shaped[ndarray, '...']") -> None:
    """Write a .npy file so that after a crash it is there whole or not at all."""
    import numpy as np

    content = io.BytesIO()  # numpy's own error of a full disk has no number by which it could be told
    np.save(content, array)
    with replacing(path) as beside:
        beside.write_bytes(content.getvalue())
