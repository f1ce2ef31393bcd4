"""Where palmtop keeps what can be made again: one cache folder for each user, moved with PALMTOP_CACHE."""

import os
from pathlib import Path


def cache(*parts: str) -> Path:
    """A folder of the user's cache, made if it isn't there."""
    base = os.environ.get("PALMTOP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "palmtop"
    folder = Path(base, *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
