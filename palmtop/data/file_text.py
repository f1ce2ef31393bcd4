"""The text of a data file that a stranger made: UTF-8, plain or .gz, of a size that is read whole; else it is told what
the file is."""

import gzip
import stat
import zlib
from pathlib import Path

from palmtop.errors import UserError

LIMIT_BYTES = 2_000_000_000
"""A larger file, or one that unpacks to more, isn't read: its rows wouldn't go into the memory of most machines."""
TIMES, SMALL_BYTES = 200, 64_000_000
"""A .gz that unpacks to more than this many times its size, and more than SMALL_BYTES, is no text: text packs to a
tenth."""
CHUNK_BYTES = 1 << 20
LOOKED_AT_BYTES = 4096
"""So much of a file's beginning says whether every second byte is 0."""

MARKS = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
    (b"PK\x03\x04", "a zip file, as spreadsheets are (.xlsx, .ods)"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "a gzip file without .gz in its name"),
)
"""How files begin that are often taken for a .csv."""


def decoded(path: Path) -> str:
    """The text of a UTF-8 file, plain or .gz.

    Raises:
        UserError: it is no ordinary file, too large, no whole gzip file, or not UTF-8; UTF-16, spreadsheets and the
        like are told by name.
    """
    refuse_special(path)
    raw = _unpacked(path) if path.suffix == ".gz" else _whole(path)
    if (kind := _known_kind(raw)) is not None:
        raise UserError(f"{path} is {kind}: save it as UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line} isn't UTF-8 (byte {raw[error.start]:#04x}): convert the file to UTF-8"
        ) from None


def refuse_special(path: Path) -> None:
    """Raises: UserError: it is a pipe, a device or a socket, whose reading may never end."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path} is a pipe or a device: write what it gives into a file, and name that")


def _whole(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        raise UserError(_too_large(path, f"is {size / 1e9:.1f} GB"))
    return path.read_bytes()


def _unpacked(path: Path) -> bytes:
    most = min(LIMIT_BYTES, max(SMALL_BYTES, TIMES * path.stat().st_size))
    parts, size = [], 0
    try:
        with gzip.open(path) as packed:
            while part := packed.read(CHUNK_BYTES):
                parts.append(part)
                size += len(part)
                if size > most:
                    break
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} isn't a whole gzip file ({error}): fetch it again") from None
    if size > most and most < LIMIT_BYTES:
        raise UserError(
            f"{path} unpacks to more than {TIMES} times its size, which no text does: is this the right file?"
        )
    if size > most:
        raise UserError(_too_large(path, f"unpacks to more than {LIMIT_BYTES / 1e9:.0f} GB"))
    return b"".join(parts)


def _too_large(path: Path, what: str) -> str:
    return f"{path} {what}: up to {LIMIT_BYTES / 1e9:.0f} GB are read; take a part of its rows"


def _known_kind(raw: bytes) -> str | None:
    """What a file is that is no UTF-8 text, in words; None where nothing shows it."""
    marked = next((kind for mark, kind in MARKS if raw.startswith(mark)), None)
    if marked is not None:
        return marked
    start = raw[:LOOKED_AT_BYTES]
    zeros = [start[place::2].count(0) for place in (0, 1)]
    if max(zeros) > len(start) / 4 and len(start) > 1:  # letters of ASCII in UTF-16 have a zero each
        return "UTF-32 without a mark" if min(zeros) > len(start) / 8 else "UTF-16 without a mark"
    if 0 in start:
        return "no UTF-8 text (it has bytes of 0, as UTF-16 and programs' own files have)"
    return None
