"""Rows of a data set from CSV, TSV or JSONL (plain or .gz), or from a Hugging Face data set, local or on the hub."""

import csv
import errno
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from palmtop.data.file_text import decoded, refuse_special
from palmtop.data.json_line import read_line
from palmtop.errors import MissingFile, UserError, did_you_mean
from palmtop.settings import Settings

SHIPPED = "palmtop:"
"""A file name that starts so lies in the folder of shipped tasks, wherever palmtop is installed."""

SHOWN = 5
"""How many rows a message names."""

_KINDS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".conll": "conll", ".iob2": "conll"}

TAB = "\t"
SEPARATORS = {TAB: "a tab", ";": "';'", ",": "','", "|": "'|'"}
"""What stands between the columns of a table, in words."""

_SEVERAL, _ONE = "dataset_dict.json", "state.json"
"""Files by which a folder is known that save_to_disk wrote: of several splits, or of one."""

CONLL = ("tokens", "tags")
"""The columns that a CoNLL file has."""


class Source(Settings):
    """Where the rows of a split come from: `file`, or `dataset` with its `config` and `split`."""

    file: str | None = None
    """A .csv, .tsv or .jsonl file (or .gz of one). A TSV has no quoting, a CSV the usual one. Or a .conll or .iob2
    file: a word and its tag on each line, an empty line between sentences; its columns are called tokens and tags."""
    dataset: str | None = None
    """A Hugging Face data set: a local folder (as save_to_disk writes it, or of data files) or a hub id."""
    config: str | None = None
    split: str | None = None
    quoting: Literal["standard", "none"] | None = None
    """How a CSV or TSV quotes fields, where its kind's habit is not right."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.dataset is None):
            raise ValueError("name either a 'file' or a 'dataset'")
        if self.dataset and not self.split:
            raise ValueError(f"the data set '{self.dataset}' needs a 'split' (train, validation, test, ...)")
        if self.file and _kind(self.file) not in _KINDS.values():
            raise ValueError(f"'{self.file}' is none of .csv, .tsv, .jsonl, .conll, .iob2 (or .gz of one)")
        return self

    @property
    def shown(self) -> str:
        """The name that messages use."""
        return self.file or f"{self.dataset} ({self.split})"

    def rooted(self, folder: Path) -> Self:
        """The same source with a file name that holds from any folder."""
        if self.file and not self.file.startswith(SHIPPED):
            return self.model_copy(update={"file": str((folder / self.file).resolve())})
        if self.dataset and (folder / self.dataset).is_dir():
            return self.model_copy(update={"dataset": str((folder / self.dataset).resolve())})
        return self


@dataclass(frozen=True)
class Table:
    """The columns of a split, as they stand in the file."""

    where: str
    columns: dict[str, Sequence[Any]]
    classes: dict[str, tuple[str, ...]]
    """For a Hugging Face column of class numbers: their names."""

    def column(self, name: str) -> Sequence[Any]:
        """A column by name.

        Raises:
            UserError: there is none, with the nearest name.
        """
        if name not in self.columns:
            raise UserError(f"{self.where} has no column '{name}'; {did_you_mean(name, self.columns)}")
        return self.columns[name]

    def class_names(self, column: str) -> tuple[str, ...] | None:
        """The names behind a column of class numbers, where the data set has them."""
        return self.classes.get(column)


def read(source: Source) -> Table:
    """All rows of a source.

    Raises:
        UserError: the file is missing, or a line of it can't be read, by number.
    """
    if source.dataset is not None:
        return _from_datasets(source.dataset, source.config, source.split or "train")
    path = path_of(source)
    return _from_file(path, stamped(path), source.quoting)


def stamped(path: Path) -> int:
    """When a data file that can be read was changed last, in nanoseconds.

    Raises:
        UserError: there is none, or it is none that can be read.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except FileNotFoundError:
        raise MissingFile(f"there is no file {path}") from None
    except OSError as error:
        raise UserError(f"the data file {path} can't be read ({error.strerror}): name one that can") from None
    if path.is_dir():
        raise UserError(f"{path} is a folder: name the file in it, or write 'dataset' instead of 'file'")
    refuse_special(path)
    if not os.access(path, os.R_OK):
        raise UserError(f"the data file {path} can't be read ({os.strerror(errno.EACCES)}): change its permissions")
    return stamp


def splits_of(dataset: str, config: str | None) -> list[str]:
    """The names of a Hugging Face data set's splits, in its order; none where a folder holds one nameless split.

    Raises:
        UserError: there is no such data set, or it can't be reached.
    """
    import datasets

    try:
        if (Path(dataset) / _SEVERAL).is_file():
            return list(datasets.load_from_disk(dataset))
        return [] if (Path(dataset) / _ONE).is_file() else list(datasets.get_dataset_split_names(dataset, config))
    except (KeyError, ValueError, OSError, RuntimeError) as error:
        raise UserError(
            f"the data set '{dataset}' (config {config}) can't be loaded: {str(error).splitlines()[0]}"
        ) from None


def have(numbers: Sequence[int]) -> str:
    """How a message begins that is about some rows: '2 rows (3, 7) have'."""
    shown = ", ".join(map(str, numbers[:SHOWN])) + (", ..." if len(numbers) > SHOWN else "")
    return f"{len(numbers)} row{'s' if len(numbers) > 1 else ''} ({shown}) {'have' if len(numbers) > 1 else 'has'}"


def path_of(source: Source) -> Path:
    """The file of a source on this machine."""
    name = source.file or ""
    return Path(__file__).parents[1] / "tasks" / name.removeprefix(SHIPPED) if name.startswith(SHIPPED) else Path(name)


@lru_cache(maxsize=8)
def _from_file(path: Path, _stamp: int, quoting: str | None) -> Table:
    kind = _kind(path.name)
    text = decoded(path)
    if kind == "jsonl":
        return Table(str(path), _json_rows(text, path), {})
    if kind == "conll":
        return Table(str(path), _conll_rows(text, path), {})
    unquoted = (quoting or ("none" if kind == "tsv" else "standard")) == "none"
    return Table(str(path), _separated_rows(text, path, "\t" if kind == "tsv" else ",", unquoted), {})


def _kind(name: str) -> str:
    return _KINDS.get(Path(name.removesuffix(".gz")).suffix.lower(), "")


def _separated_rows(text: str, path: Path, separator: str, unquoted: bool) -> dict[str, Sequence[Any]]:
    csv.field_size_limit(2**31 - 1)
    quoting: Any = csv.QUOTE_NONE if unquoted else csv.QUOTE_MINIMAL
    _refuse_other_separator(text, path, separator)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=not unquoted)
    try:
        header = next(reader, None)
        if header is None:
            raise UserError(f"{path} is empty: the first line of a .csv or .tsv names its columns")
        header = _without_empty_end(header)
        if not header:
            raise UserError(f"{path} begins with an empty line: the first line of a .csv or .tsv names its columns")
        if len(set(header)) != len(header):
            raise UserError(f"{path}: a column name stands twice in the first line: {', '.join(header)}")
        rows = []
        for row in reader:
            if row and len(row) > len(header) and not any(row[len(header) :]):  # a spreadsheet's empty columns
                del row[len(header) :]
            if row and len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num} has {len(row)} fields, the first line {len(header)} "
                    f"({', '.join(header)}): a stray separator or quote? (set 'quoting' if the file quotes otherwise)"
                )
            if row:
                rows.append(row)
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: {error} (set 'quoting: none' if quotes are plain characters there)"
        ) from None
    columns = list(zip(*rows, strict=True)) or [()] * len(header)
    return dict(zip(header, columns, strict=True))


def _refuse_other_separator(text: str, path: Path, separator: str) -> None:
    """Raises: UserError: the first line has another separator than such a file's, and none of its own."""
    first = text.split("\n", 1)[0]
    other = None if separator in first else next((mark for mark in SEPARATORS if mark in first), None)
    if other is not None:
        raise UserError(
            f"{path} is separated by {SEPARATORS[other]}, but {SEPARATORS[separator]} stands between the columns of a "
            f"{'.tsv' if separator == TAB else '.csv'}: "
            + (
                f"name it {'.tsv' if other == TAB else '.csv'}"
                if other in {TAB, ","}
                else f"save it with {SEPARATORS[separator]} between the columns"
            )
        )


def _without_empty_end(header: list[str]) -> list[str]:
    """The columns up to the last that has a name: spreadsheets write empty ones after them."""
    named = [place for place, name in enumerate(header, 1) if name.strip()]
    return header[: named[-1]] if named else []


def _conll_rows(text: str, path: Path) -> dict[str, Sequence[Any]]:
    """Sentences as lists of words and of tags.

    A line has the word first and its tag last or, where every line begins with its number, the word second and the tag
    third; lines that begin with # and a space are comments.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if not line.startswith("# ")]
    fields = [(number, line.split("\t") if "\t" in line else line.split()) for number, line in lines]
    words = [row for _, row in fields if row and row[0].strip()]
    word, tag = (1, 2) if words and all(row[0].strip().isdecimal() for row in words) else (0, -1)
    sentences: list[tuple[list[str], list[str]]] = [([], [])]
    for number, row in fields:
        if not row or not any(field.strip() for field in row):
            sentences.append(([], []))
            continue
        if len(row) < (3 if word else 2) or not row[word].strip():
            raise UserError(
                f"{path}, line {number} has no word with a tag ({' '.join(row)!r}): a line is a word and its tag"
            )
        sentences[-1][0].append(row[word].strip())
        sentences[-1][1].append(row[tag].strip())
    whole = [sentence for sentence in sentences if sentence[0]]
    if not whole:
        raise UserError(f"{path} is empty: each line is a word and its tag, an empty line stands between sentences")
    return dict(zip(CONLL, zip(*whole, strict=True), strict=True))


def _json_rows(text: str, path: Path) -> dict[str, Sequence[Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        row = read_line(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise UserError(f'{path}, line {number} isn\'t an object ({{"text": ..., "label": ...}})')
        rows.append(row)
    if not rows:
        raise UserError(f'{path} is empty: each line of a .jsonl is an object ({{"text": ..., "label": ...}})')
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _from_datasets(name: str, config: str | None, split: str) -> Table:
    import datasets

    try:
        if (Path(name) / _SEVERAL).is_file():
            data = datasets.load_from_disk(name)[split]
        elif (Path(name) / _ONE).is_file():
            data = datasets.load_from_disk(name)
        else:
            data = datasets.load_dataset(name, config, split=split)
    except (KeyError, ValueError, OSError, RuntimeError) as error:
        raise UserError(
            f"the data set '{name}' (config {config}, split {split}) can't be loaded: {str(error).splitlines()[0]}"
        ) from None
    classes = {
        column: tuple(feature.names)
        for column, whole in data.features.items()
        if isinstance(feature := getattr(whole, "feature", whole), datasets.ClassLabel)
    }
    return Table(f"{name} ({split})", {column: data[column][:] for column in data.column_names}, classes)
