"""A folder of a project, written whole or not at all where nothing was."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palmtop.errors import raise_all
from palmtop.making import lock_on


def place_faults(option: str, folder: Path) -> list[str]:
    """Why nothing can be written to `folder`, which `option` names: something is there."""
    if folder.is_dir() and not any(folder.iterdir()):
        return []
    if folder.exists() or folder.is_symlink():
        return [f"{option} {folder} exists and isn't an empty folder: name a new one; what is there is never changed"]
    return []


@contextmanager
def whole_folder(option: str, folder: Path) -> Iterator[Path]:
    """A hidden sibling to write into, which becomes `folder` when all went well, and is gone when it didn't.

    Raises:
        UserError: something is there by now, or another process works on it.
    """
    with lock_on(folder):
        raise_all(place_faults(option, folder))
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            if folder.is_dir():
                folder.rmdir()  # it is empty
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
