"""Plain text to learn a language from: files, or a column of a Hugging Face data set, read as documents of texts."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from palmtop.bundle import sha256_of
from palmtop.data import rows
from palmtop.data.file_text import decoded
from palmtop.data.rows import Source
from palmtop.errors import UserError
from palmtop.settings import Settings, build

Document = list[str]
"""Texts that follow each other."""

SUFFIXES = (".txt", ".txt.gz")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'\u201d\u2019)\]]))\s+(?=[\"'\u201c\u2018(\[]*[A-Z0-9])")


class Corpus(Settings):
    """Where the text lies: `files`, or a `dataset` with its `config`, `split` and `column`."""

    files: tuple[str, ...] = ()
    """.txt files (or .txt.gz), or folders of them."""
    dataset: str | None = None
    """A Hugging Face data set: a local folder or a hub id. Its rows are read as the lines of one file."""
    config: str | None = None
    split: str = "train"
    column: str = "text"
    """The data set's column with the text."""
    unit: Literal["line", "paragraph"] = "line"
    """What is one text: a line (blank lines then part documents), or the lines up to a blank one (a file is then a
    document)."""
    most_texts: int | None = Field(default=None, ge=1)
    """Read so many texts only, the first ones; all by default."""

    @field_validator("files", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.files) == (self.dataset is not None):
            raise ValueError("name either 'files' or a 'dataset'")
        return self

    @classmethod
    def find(cls, reference: str | tuple[str, ...] | dict[str, Any]) -> Self:
        """A file, a folder, several of them, or all settings written out.

        Raises:
            UserError: a fault in the settings.
        """
        values = reference if isinstance(reference, dict) else {"files": reference}
        return build(cls, values, "text")

    @property
    def digest(self) -> str:
        """sha256 of the settings and the content, wherever that lies.

        Raises:
            UserError: it isn't there.
        """
        how = [self.unit, self.most_texts]
        what = [sha256_of(path) for path in self._paths()] if self.files else self._lines_of_dataset()
        return hashlib.sha256(json.dumps([how, what]).encode()).hexdigest()

    def documents(self) -> list[Document]:
        """All texts, in order; none is empty.

        Raises:
            UserError: a file is missing, isn't UTF-8 or no whole gzip, or there is no text at all.
        """
        places = [decoded(path).splitlines() for path in self._paths()] if self.files else [self._lines_of_dataset()]
        parts = _by_line if self.unit == "line" else _paragraphs
        found = [document for lines in places for document in parts(lines) if document]
        if not found:
            raise UserError(f"{self.shown} has no text in it: give files with some")
        return _first(found, self.most_texts) if self.most_texts else found

    @property
    def shown(self) -> str:
        """The name that messages use."""
        return ", ".join(self.files) or f"{self.dataset} ({self.split})"

    def _paths(self) -> list[Path]:
        found: list[Path] = []
        for name in self.files:
            path = Path(name).expanduser()
            if path.is_dir():
                inside = sorted(inner for inner in path.iterdir() if inner.name.endswith(SUFFIXES))
                if not inside:
                    raise UserError(f"{path} holds no .txt or .txt.gz file")
                found += inside
            elif not path.is_file():
                raise UserError(f"there is no file {path}")
            elif not path.name.endswith(SUFFIXES):
                raise UserError(f"{path} is neither .txt nor .txt.gz: plain text is wanted here")
            else:
                found.append(path)
        return found

    def _lines_of_dataset(self) -> list[str]:
        table = rows.read(Source(dataset=self.dataset, config=self.config, split=self.split))
        return [line for row in table.column(self.column) for line in (str(row or "").splitlines() or [""])]


def sentences(text: str) -> list[str]:
    """A text cut after full stops, exclamation and question marks that a Latin capital or a digit follows: rough,
    without a model."""
    return [part for part in (piece.strip() for piece in _SENTENCE_END.split(text)) if part]


def _by_line(lines: list[str]) -> list[Document]:
    found: list[Document] = [[]]
    for line in (line.strip() for line in lines):
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return found


def _paragraphs(lines: list[str]) -> list[Document]:
    return [[" ".join(part) for part in _by_line(lines) if part]]


def _first(documents: list[Document], texts: int) -> list[Document]:
    kept: list[Document] = []
    for document in documents:
        if texts <= 0:
            break
        kept.append(document[:texts])
        texts -= len(document)
    return kept
