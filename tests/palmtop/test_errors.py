"""What an operating system's refusal means to a user."""

import errno
from pathlib import Path

import pytest

from palmtop.errors import from_os


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            errno.ENOSPC,
            "no space left on the disk while writing here: free some space and run the same command again; finished "
            "steps are kept and the unfinished one continues",
        ),
        (
            errno.EACCES,
            "here can't be written or read (told): change its permissions or choose another folder with --out",
        ),
        (
            errno.EROFS,
            "here can't be written or read (told): change its permissions or choose another folder with --out",
        ),
        (
            errno.ENOTDIR,
            "here is a file, or lies below one, where a folder is wanted: choose another folder with --out",
        ),
        (
            errno.EFBIG,
            "here would be a larger file than may be written here (see 'ulimit -f'): raise the limit, or choose "
            "another folder with --out",
        ),
        (errno.EISDIR, "here is a folder where a file is wanted: name the file in it"),
    ],
)
def test_refusals_a_user_can_mend(number: int, message: str) -> None:
    assert str(from_os(OSError(number, "told", "here"))) == message


def test_a_refusal_without_a_file_name() -> None:
    assert str(from_os(OSError(errno.ENOSPC, "told"))).startswith(
        "no space left on the disk while writing the output folder: "
    )
    assert str(from_os(OSError(errno.ENOSPC, "told"), Path("out"))).startswith(
        "no space left on the disk while writing out: "
    )


def test_others_are_not_the_users() -> None:
    assert from_os(OSError(errno.EBADF, "told")) is None
