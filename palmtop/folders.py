"""Where palmtop keeps what can be made again: one cache folder for each user, moved with PALMTOP_CACHE."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from palmtop.bundle import sha256_of
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.processes import POLL_SECONDS, rank

SEAL = "sha256.json"
"""In a folder of the cache: the sha256 of every other file in it."""


def cache(*parts: str) -> Path:
    """A folder of the user's cache, made if it isn't there.

    Raises:
        UserError: it can't be made or written, and PALMTOP_CACHE names another place.
    """
    base = os.environ.get("PALMTOP_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "palmtop"
    folder = Path(base, *parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_cache(folder, error.strerror or str(error)) from None
    if not os.access(folder, os.W_OK):
        raise _no_cache(folder, os.strerror(errno.EACCES))
    return folder


def fill_once(folder: Path, fill: Callable[[Path], None], say: Callable[[str], None]) -> bool:
    """Let `fill` write a folder of the cache, beside its place, seal it, and move it there: whole or not at all.
    Returns whether it was there, as it was sealed.

    A process that finds another at it waits, and takes what that one has made; so do all but the first of a distributed
    run. What a killed one left is done again, and so is, with a word, what isn't as it was sealed, or was made before
    there were seals.
    """
    follows = rank() > 0
    while follows and not is_whole(folder):
        time.sleep(POLL_SECONDS)
    if is_whole(folder):
        return True
    with alone(folder, say):
        if is_whole(folder):
            return True
        if folder.exists():
            say(f"{folder} isn't as it was sealed, or has no seal: it is made again")
            shutil.rmtree(folder)
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        fill(partial)
        _seal(partial)
        partial.rename(folder)
    return False


def is_whole(folder: Path) -> bool:
    """Whether a folder of the cache is as it was sealed; all of it is read."""
    try:
        sealed = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        return bool(sealed == _digests(folder))
    except (FileNotFoundError, ValueError):  # one who makes it anew may be at it
        return False


def _seal(folder: Path) -> None:
    write_durably(folder / SEAL, json.dumps(_digests(folder), indent=1))


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != SEAL}


@contextmanager
def alone(made: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Only one process at a time makes a file or a folder of the cache; another waits, and says so. The lock goes with
    the process, however that ends."""
    lock = FileLock(cache("locks") / f"{made.parent.name}-{made.name}")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another palmtop is making {made}: waiting for it")
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        raise _no_cache(Path("~"), "there is no home folder") from None


def _no_cache(folder: Path, why: str) -> UserError:
    return UserError(
        f"palmtop's cache can't be kept in {folder} ({why}): name a folder that can be written with the environment "
        "variable PALMTOP_CACHE"
    )
