"""What is made once for all tests, by whichever of xdist's processes comes first. It is read, never changed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock
from tiny_bundles import Taught

from palmtop.bundle import Bundle
from palmtop.making import make
from palmtop.settings import build
from palmtop.stage import find

MadeOnce = Callable[[str, dict[str, Any], Bundle], Bundle]
"""A stage's name, its settings and its source."""
MADE = "made.json"
"""Written last into a folder that is whole."""


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Only one process is inside at a time; yields whether the folder is still to be filled."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        yield not (folder / MADE).exists()


def taught_once(folder: Path, teach: Callable[[Path], Taught]) -> Taught:
    """A tiny task and its teacher; `teach` is called with a folder where there is none yet."""
    with alone(folder) as first:
        if first:
            (folder / MADE).write_text(json.dumps(teach(folder).task))
    task: dict[str, Any] = json.loads((folder / MADE).read_text())
    return Taught(folder, task, Bundle.open(folder / "base"), Bundle.open(folder / "teacher"))


def made_once(root: Path, use: str, settings: dict[str, Any], source: Bundle) -> Bundle:
    """The bundle that a stage makes of a source; equal settings of an equal source give the same one."""
    stage = build(find(use), settings, use)
    key = sha256(f"{use} {stage.model_dump_json()} {source.digest}".encode()).hexdigest()[:16]
    with alone(root / key) as first:
        if first:
            (root / key).mkdir()
            make(use, stage, source, root / key / use, lambda _: None)
            (root / key / MADE).touch()
    return Bundle.open(root / key / use)
