"""Where palmtop keeps what can be made again: one cache folder for each user, moved with PALMTOP_CACHE."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from palmtop.errors import UserError


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


def fill_once(folder: Path, card: str, fill: Callable[[Path], None], say: Callable[[str], None]) -> bool:
    """Let `fill` write a folder of the cache, beside its place, and move it there: whole or not at all. Returns whether
    it was there.

    A process that finds another at it waits, and takes what that one has made. What a killed one left is done again.

    Args:
        card: the file that `fill` writes last, by which a whole folder is known.
    """
    with alone(folder, say):
        if (folder / card).is_file():
            return True
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        fill(partial)
        partial.rename(folder)
    return False


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
