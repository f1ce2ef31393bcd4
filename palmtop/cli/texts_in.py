"""The texts that a command is to ask a model: of a file or of stdin, one by one, so that a file may be of any size."""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palmtop.data.json_line import read_line
from palmtop.errors import UserError, did_you_mean

KINDS = (".csv", ".tsv", ".jsonl", ".txt")
MARK = "\ufeff"
"""What some programs write at the beginning of a UTF-8 file."""

Text = tuple[str, ...]


def from_file(path: Path, columns: Sequence[str]) -> Iterator[Text]:
    """The named columns of each row of a .csv, .tsv or .jsonl file, or each line of a .txt (or of a .gz of one).

    Raises:
        UserError: no such file, another kind of file, a column that isn't there, a row that can't be read, by its
            line; or no rows at all.
    """
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in KINDS:
        raise UserError(f"'{path}' is none of {', '.join(KINDS)} (or .gz of one)")
    if not path.is_file():
        raise UserError(f"{path} is a folder: name the file in it" if path.is_dir() else f"there is no file {path}")
    with _opened(path) as file:
        lines = _decoded(file, str(path))
        yield from _some(_rows(kind, lines, path, columns), f"{path} is empty: give a file with at least one text")


def from_stdin() -> Iterator[Text]:
    """Each line of stdin.

    Raises:
        UserError: there is none, or one isn't UTF-8.
    """
    if sys.stdin.isatty():
        print("reading texts, one a line; Ctrl-D ends", file=sys.stderr)
    lines = _bare(_decoded(sys.stdin.buffer, "stdin"))
    yield from _some(((line,) for line in lines), "stdin is empty: give texts, one a line, or name them as arguments")


def _rows(kind: str, lines: Iterable[str], path: Path, columns: Sequence[str]) -> Iterator[Text]:
    if kind == ".txt":
        return ((line,) for line in _bare(lines))
    if kind == ".jsonl":
        return _json_rows(lines, path, columns)
    return _separated_rows(lines, path, columns, kind == ".tsv")


def _some(rows: Iterable[Text], otherwise: str) -> Iterator[Text]:
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        raise UserError(otherwise)


@contextmanager
def _opened(path: Path) -> Iterator[Iterable[bytes]]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} isn't a whole gzip file ({error}): fetch it again") from None


def _decoded(file: Iterable[bytes], where: str) -> Iterator[str]:
    for number, raw in enumerate(file, 1):
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where}, line {number} isn't UTF-8 (byte {raw[error.start]:#04x}): convert it to UTF-8"
            ) from None
        yield line.removeprefix(MARK) if number == 1 else line


def _bare(lines: Iterable[str]) -> Iterator[str]:
    return (line.removesuffix("\n").removesuffix("\r") for line in lines)


def _separated_rows(lines: Iterable[str], path: Path, columns: Sequence[str], tabs: bool) -> Iterator[Text]:
    csv.field_size_limit(2**31 - 1)
    quoting: Any = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter="\t" if tabs else ",", quoting=quoting, strict=not tabs)
    try:
        header = next(reader, [])
        places = [_place(path, header, name) for name in columns] if header else []
        for row in reader:
            if row and len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num} has {len(row)} fields, the first line {len(header)} "
                    f"({', '.join(header)}): a stray separator or quote?"
                )
            if row:
                yield tuple(row[place] for place in places)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None


def _json_rows(lines: Iterable[str], path: Path, columns: Sequence[str]) -> Iterator[Text]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = read_line(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number} isn\'t an object ({{"text": ...}})')
        values = [row[list(row)[_place(f"{path}, line {number}", list(row), name)]] for name in columns]
        if wrong := [name for name, value in zip(columns, values, strict=True) if not isinstance(value, str)]:
            raise UserError(f"{path}, line {number}: '{wrong[0]}' is {row[wrong[0]]!r}, no text")
        yield tuple(values)


def _place(where: Path | str, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise UserError(
            f"{where} has no column '{name}'; {did_you_mean(name, header)} (--text and --text2 name the columns)"
        )
    return header.index(name)
