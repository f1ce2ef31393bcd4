"""UserError: something the user can mend, told in one message: what is wrong, the value, what to do."""

import difflib
import errno
import os
import shutil
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ALMOST_FULL_BYTES = 1_000_000
"""Less than this free, and a write has most likely failed for want of space."""


class UserError(Exception):
    """A fault of the input or the machine that the user can mend; the command line shows it without a traceback.

    Several faults found together are told together, one a line.
    """

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class MissingFile(UserError):
    """A file that a user named and that isn't there (any more)."""


def raise_all(faults: Sequence[str]) -> None:
    """Raise one UserError that tells every fault, or return when there is none."""
    if faults:
        raise UserError(faults)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown `name`: the nearest known one, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.55)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(names) or 'none'}"


def printable(text: str) -> str:
    """A text as a message may have it: control characters and halves of characters are written out (ESC as \\x1b), so
    that a label or a file name moves no cursor; line breaks and tabs stay."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) not in {"Cc", "Cs"} else ascii(letter)[1:-1]
        for letter in text
    )


def clipped(value: Any, letters: int = 60) -> str:
    """A value of the user's as a message shows it: written out, of a long one its beginning."""
    written = repr(value)
    return written if len(written) <= letters else f"{written[:letters]}..."


def from_os(error: OSError, writing: Path | None = None) -> UserError | None:
    """What an operating system's refusal means to a user, or None for one that is not theirs to mend.

    Args:
        writing: what was being written; told where the error names no file.
    """
    where = error.filename or writing or "the output folder"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _no_space(str(where))
    if error.errno == errno.EFBIG:
        return UserError(
            f"{where} would be a larger file than may be written here (see 'ulimit -f'): raise the limit, or choose "
            "another folder with --out"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return UserError(
            f"{where} is a file, or lies below one, where a folder is wanted: choose another folder with --out"
        )
    if error.errno == errno.EISDIR:
        return UserError(f"{where} is a folder where a file is wanted: name the file in it")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"{where} can't be written or read ({error.strerror}): change its permissions or choose another folder "
            "with --out"
        )
    return None


def full_disk(folder: Path, said: str) -> UserError | None:
    """The error to tell when the disk under `folder` is full, or when a library `said` so and has cleaned up since;
    else None."""
    full = os.strerror(errno.ENOSPC) in said or shutil.disk_usage(folder).free < ALMOST_FULL_BYTES
    return _no_space(str(folder)) if full else None


def _no_space(where: str) -> UserError:
    return UserError(
        f"no space left on the disk while writing {where}: free some space and run the same command again; finished "
        "steps are kept and the unfinished one continues"
    )
