"""Adopting a folder, and spoiling it first."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.making import make
from palmtop.stage import Outline


def adopt(folder: Path, **settings: Any) -> Bundle:
    """The bundle `base` in `folder`."""
    return make("adopt", stage.find("adopt")(**settings), None, folder / "base", print)


def outline(**settings: Any) -> Outline:
    """What adopting would make, by config.json and the names of files alone."""
    return stage.find("adopt")(**settings).outline(None)


def change(folder: Path, **values: Any) -> None:
    """Change words of a Hugging Face folder's config.json."""
    change_file(folder / "config.json", lambda written: written.update(values))


def change_file(path: Path, changed: Callable[[dict[str, Any]], Any]) -> None:
    """Change a file of JSON in place."""
    written = json.loads(path.read_text())
    changed(written)
    path.write_text(json.dumps(written))
