"""A model that palmtop itself made, and that was pushed or copied: its task, its length and its thresholds are kept."""

import hashlib
from pathlib import Path
from typing import Any

from palmtop.bundle import CARD, sha256_of
from palmtop.compress.start.adopt_config import head_labels
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature
from palmtop.task import FILE as TASK
from palmtop.task import Task

OWN = (CARD, SIGNATURE, TASK)
"""Files of a bundle that a stranger's folder hasn't."""


def is_own(folder: Path) -> bool:
    """Whether a model folder is a bundle of palmtop's."""
    return (folder / CARD).is_file()


def own_task(folder: Path, config: dict[str, Any]) -> dict[str, Any] | None:
    """The task that a bundle carries, written out, where its head is still for it; else None."""
    task = Task.of(folder) if is_own(folder) else None
    if task is None:
        return None
    written = task.model_dump(mode="json")
    return written if head_labels(config, written) is not None else None


def own_signature(folder: Path, made: Signature) -> Signature:
    """The signature that a model would get, with the length, the thresholds and the windows that a bundle states, which
    were chosen with its weights."""
    if not is_own(folder) or not (folder / SIGNATURE).is_file():
        return made
    said = Signature.read(folder)
    kept = {name: getattr(said, name) for name in ("thresholds", "null_threshold", "stride")}
    return made.model_copy(update={"max_length": min(said.max_length, made.max_length), **kept})


def own_files(folder: Path) -> str:
    """sha256 of what is read of a bundle besides its model; nothing of a stranger's folder."""
    if not is_own(folder):
        return ""
    read = [path for name in (SIGNATURE, TASK) if (path := folder / name).is_file()]
    return hashlib.sha256("".join(sha256_of(path) for path in read).encode()).hexdigest()
