"""How the command line writes: each line at once, no label or file name moves the cursor, and no character that the
terminal lacks stops a command."""

import io
import sys
from collections.abc import Sequence

from palmtop.errors import UserError, printable


def say(line: str) -> None:
    """Write a line to stdout."""
    print(printable(line), flush=True)


def note(line: str) -> None:
    """Write a line to stderr that is worth a look, beside what a command answers."""
    print(f"note: {printable(line)}", file=sys.stderr, flush=True)


def write_all_characters() -> None:
    """Let stdout and stderr write out (as \\xe9) the characters that their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def check_words(words: Sequence[str]) -> None:
    """Raises: UserError: an argument has bytes that Python can't read in this locale."""
    encoding = sys.getfilesystemencoding()
    odd = next((word for word in words if any("\udc80" <= letter <= "\udcff" for letter in word)), None)
    if odd is not None and encoding != "utf-8":
        raise UserError(
            f"{printable(odd)} can't be read in this locale ({encoding}): set one of UTF-8 (LC_ALL=C.UTF-8), or "
            "PYTHONUTF8=1"
        )
