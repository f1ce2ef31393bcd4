"""Data files that are something else than their names say: told as what they are, and never read without bound."""

import gzip
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from palmtop.data import file_text, rows
from palmtop.errors import UserError
from palmtop.yaml_file import read_mapping

TABLE = "text,label\nhello there,greet\nbye now,leave\n"


def fault(folder: Path, content: bytes | str, name: str = "train.csv") -> str:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as caught:
        rows.read(rows.Source(file=str(folder / name)))
    return str(caught.value).removeprefix(f"{folder}/")


def columns(folder: Path, content: str, name: str = "train.csv") -> dict[str, Any]:
    (folder / name).write_text(content)
    return {key: list(value) for key, value in rows.read(rows.Source(file=str(folder / name))).columns.items()}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (TABLE.encode("utf-16"), "UTF-16"),
        (TABLE.encode("utf-16-le"), "UTF-16 without a mark"),
        (TABLE.encode("utf-16-be"), "UTF-16 without a mark"),
        (TABLE.encode("utf-32-le"), "UTF-32 without a mark"),
        (b"PK\x03\x04 rest", "a zip file, as spreadsheets are (.xlsx, .ods)"),
        (gzip.compress(TABLE.encode(), mtime=0), "a gzip file without .gz in its name"),
        (
            b"text,label\nhi,a\0\n" + b"hello,b\n" * 9,
            "no UTF-8 text (it has bytes of 0, as UTF-16 and programs' own files have)",
        ),
    ],
)
def test_what_a_file_is_instead_of_text(content: bytes, kind: str, tmp_path: Path) -> None:
    assert fault(tmp_path, content) == f"train.csv is {kind}: save it as UTF-8 text"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            'text;label\n"a; ""b""";greet\n',
            "train.csv",
            "train.csv is separated by ';', but ',' stands between the columns of a .csv: save it with ',' between the "
            "columns",
        ),
        (
            "text\tlabel\nhi\tgreet\n",
            "train.csv",
            "train.csv is separated by a tab, but ',' stands between the columns of a .csv: name it .tsv",
        ),
        (
            TABLE,
            "train.tsv",
            "train.tsv is separated by ',', but a tab stands between the columns of a .tsv: name it .csv",
        ),
    ],
)
def test_another_separator_is_told(content: str, name: str, message: str, tmp_path: Path) -> None:
    assert fault(tmp_path, content, name) == message


def test_empty_columns_of_a_spreadsheet_are_none(tmp_path: Path) -> None:
    assert columns(tmp_path, "text,label,,\nhi,a,,\nho,b,,\n") == {"text": ["hi", "ho"], "label": ["a", "b"]}
    assert columns(tmp_path, "text,label\nhi,a,,\nho,b\n", "b.csv") == {"text": ["hi", "ho"], "label": ["a", "b"]}
    assert fault(tmp_path, "\ntext,label\nhi,a\n", "d.csv") == (
        "d.csv begins with an empty line: the first line of a .csv or .tsv names its columns"
    )
    assert "line 2 has 4 fields, the first line 2" in fault(tmp_path, "text,label,,\nhi,a,,x\n", "c.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            '{"text": "oven \\ud83d", "label": "a"}',
            "train.jsonl, line 2 has half a character (\\ud83d), as a text has that was cut in the middle of an emoji: "
            "remove it",
        ),
        (
            f'{{"text": "a", "label": {"9" * 5000}}}',
            "train.jsonl, line 2 has a number of too many digits to be read: mend or remove it",
        ),
        (
            f'{{"text": "a", "label": {"[" * 100_000}',
            "train.jsonl, line 2 has lists or objects nested too deep to be read: mend or remove it",
        ),
    ],
)
def test_a_line_of_json_that_no_program_reads(line: str, message: str, tmp_path: Path) -> None:
    assert fault(tmp_path, f'{{"text": "whole \\ud83d\\ude00", "label": "a"}}\n{line}\n', "train.jsonl") == message


def test_a_pipe_or_a_device_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "recipe.yaml")
    for name in ("pipe.csv", "zero.csv"):
        with pytest.raises(UserError, match=rf"{name} is a pipe or a device: write what it gives into a file"):
            rows.read(rows.Source(file=str(tmp_path / name)))
    with pytest.raises(UserError, match=r"recipe.yaml is a pipe or a device"):
        read_mapping(tmp_path / "recipe.yaml")


def test_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    with pytest.raises(
        UserError, match=r"^the data file .*loop.csv can't be read \(Too many levels of symbolic links\)"
    ):
        rows.read(rows.Source(file=str(tmp_path / "loop.csv")))


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.csv").open("wb") as sparse:
        sparse.truncate(file_text.LIMIT_BYTES + 1)
    with pytest.raises(UserError, match=r"sparse.csv is 2.0 GB: up to 2 GB are read; take a part of its rows"):
        rows.read(rows.Source(file=str(tmp_path / "sparse.csv")))
    packer = zlib.compressobj(wbits=31)
    zeros = b" " * (1 << 20)
    bomb = b"".join([*(packer.compress(zeros) for _ in range(80)), packer.flush()])
    assert fault(tmp_path, bomb, "bomb.csv.gz") == (
        "bomb.csv.gz unpacks to more than 200 times its size, which no text does: is this the right file?"
    )
