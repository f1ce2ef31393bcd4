"""Texts without labels, which a teacher is to label: a file of them, a column of a table, or another task's texts."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from palmtop.data.file_text import decoded
from palmtop.data.rows import Source, read, stamped
from palmtop.errors import UserError
from palmtop.settings import Settings

LINES = ".txt"
"""A file that ends so (or so and .gz) has a text on each line."""


class PlainTexts(Settings):
    """Where texts without labels come from: `file`, `dataset` with its `config` and `split`, or `task`."""

    file: str | None = None
    """A .txt file with a text on each line, or a .csv, .tsv, .jsonl, .conll or .iob2 file as those with labels are (or
    .gz of one)."""
    dataset: str | None = None
    """A Hugging Face data set: a local folder or a hub id."""
    config: str | None = None
    split: str | None = None
    quoting: Literal["standard", "none"] | None = None
    """How a CSV or TSV quotes fields, where its kind's habit is not right."""
    task: str | None = None
    """A shipped task's name, or a task's YAML file: the texts that it trains on, without their labels."""
    text: str | tuple[str, str] | None = None
    """The column with the text, or the two columns of a pair; by default those of the task that is to be learnt."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("file", "dataset", "task") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("name one of 'file', 'dataset' and 'task'")
        if self.text is not None and (self.task is not None or self.has_lines):
            raise ValueError("'text' names columns, and there are none here; remove it")
        if self.task is None and not self.has_lines:
            self.source  # noqa: B018  # its own checks
        return self

    @property
    def has_lines(self) -> bool:
        """Whether it is a file with a text on each line."""
        return self.file is not None and self.file.lower().removesuffix(".gz").endswith(LINES)

    @property
    def source(self) -> Source:
        """The table that the texts are a column of."""
        return Source.model_validate(self.model_dump(exclude={"task", "text"}))

    @property
    def shown(self) -> str:
        """The name that messages use."""
        return self.file or (f"task {self.task}" if self.task else f"{self.dataset} ({self.split})")

    def rooted(self, folder: Path) -> Self:
        """The same with file names that hold from any folder."""
        if self.task is not None:
            own = self.task.endswith((".yaml", ".yml"))
            return self.model_copy(update={"task": str((folder / self.task).resolve())}) if own else self
        if self.has_lines:
            return self.model_copy(update={"file": str((folder / (self.file or "")).resolve())})
        rooted = self.source.rooted(folder)
        return self.model_copy(update={"file": rooted.file, "dataset": rooted.dataset})

    def rows(self, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """The fields of each text, as they stand there; of a file or a data set.

        Args:
            columns: of the task that is to be learnt.

        Raises:
            UserError: the file is missing or can't be read, or has no such column.
        """
        if self.has_lines:
            if len(columns) > 1:
                raise UserError(
                    f"{self.file} has one text on each line, and the task has pairs ({', '.join(columns)}): give a "
                    ".tsv, .csv or .jsonl file with both columns"
                )
            path = Path(self.file or "")
            stamped(path)
            return [(line.rstrip("\r"),) for line in decoded(path).removesuffix("\n").split("\n")]
        wanted = columns if self.text is None else (self.text,) if isinstance(self.text, str) else self.text
        if len(wanted) != len(columns):
            raise UserError(
                f"{self.shown}: 'text' names {len(wanted)} column{'s' if len(wanted) > 1 else ''}, but a row of the "
                f"task has {len(columns)} text{'s' if len(columns) > 1 else ''}: name as many"
            )
        table = read(self.source)
        return list(zip(*(table.column(name) for name in wanted), strict=True))


def written(value: Any) -> Any:
    """The short forms of a list of them: a file's name, one alone."""
    several = value if isinstance(value, list | tuple) else [value]
    return tuple({"file": one} if isinstance(one, str) else one for one in several)
