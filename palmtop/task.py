"""Task: what is learnt and measured: a data set, its columns and labels, the kind of head, the metric."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from palmtop import task_kinds
from palmtop.data import rows
from palmtop.data.encoding import Text
from palmtop.data.plain_texts import PlainTexts, written
from palmtop.data.rows import Source, have
from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.settings import Settings, build
from palmtop.task_kinds.kind import TaskKind
from palmtop.task_kinds.label_words import unfit
from palmtop.yaml_file import read_mapping

FILE = "task.json"
SHIPPED = Path(__file__).parent / "tasks"

HELD_OUT = 0.1
"""Share of the training texts that are chosen by where there is no validation split."""

_DATA = {"train", "validation", "evaluation", "unlabelled"}
"""Settings that say where data lie."""

SplitName = Literal["train", "validation", "evaluation"]


@dataclass(frozen=True)
class Split:
    """The rows of one split, clean: `texts` and their labels.

    Labels are as the kind of the task reads them: class indices (int64) [rows], values (float32) [rows], the answers to
    questions (int64) [rows, answers, 2], ...
    """

    texts: list[Text]
    labels: "np.ndarray[Any, np.dtype[np.generic]]"
    digest: str
    """sha256 of texts and labels: what a cache or a measurement depends on."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "Split":
        """The rows at `indices`, in that order."""
        return Split.of([self.texts[index] for index in indices], self.labels[indices])

    @classmethod
    def of(cls, texts: list[Text], labels: "np.ndarray[Any, np.dtype[np.generic]]") -> Self:
        """Rows, with their digest."""
        hashed = hashlib.sha256(json.dumps(texts).encode())
        hashed.update(np.ascontiguousarray(labels).tobytes())
        return cls(texts, labels, hashed.hexdigest())


class Task(Settings):
    """A data set made into something to learn. Read from palmtop/tasks/NAME.yaml, a YAML file, or a bundle."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: int = 1
    """Raise it when the meaning of the numbers changes."""
    kind: str = "classification"
    """What is predicted: one of the labels, a number, or where in a context the answer to a question stands."""
    text: str | tuple[str, str]
    """The column with the text, or the two columns of a pair; of question_answering those of the question and its
    context."""
    label: str = ""
    """The column with the label, the number, or the answers: a text, or {text: [...], answer_start: [...]} as in
    SQuAD. Pairs for sentence_embedding may be without."""
    labels: tuple[str, ...] | dict[str, str] | None = None
    """The labels in the model's order; or {value in the column: label}, where several values may be one label; or
    nothing: those of the training data, sorted."""
    options: dict[str, Any] | None = None
    """What the kind leaves open, by name: of sentence_embedding its pooling, normalize, loss, margin, scale, taught and
    widths (`palmtop kinds sentence_embedding`)."""
    metric: str | None = None
    """The number that decides; by default accuracy, pearson or f1."""
    train: Source
    validation: Source | None = None
    evaluation: Source
    unlabelled: tuple[PlainTexts, ...] = ()
    """Texts without labels, which the stages that distil have the teacher label and learn from too: a file, or {file:
    ..., text: COLUMN}, {dataset: ..., split: ...}, {task: another one}, or a list of these. None of a text that is
    measured or chosen by, or trained on already."""
    train_rows: int | None = Field(default=None, ge=1)
    """Train on so many rows only, drawn once with a fixed seed, the same share of each label; all by default."""
    empty_text: Literal["refuse", "keep", "drop"] = "refuse"
    """What becomes of rows whose text is empty."""
    max_characters: int = Field(default=20_000, ge=1)
    """A longer text is taken for an accident and refused: a model reads some hundred words of it at most."""
    licence: str | None = None
    attribution: str | None = None
    origin: str | None = None

    @field_validator("train", "validation", "evaluation", mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"file": value} if isinstance(value, str) else value

    @field_validator("unlabelled", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return written(value)

    @field_validator("labels", mode="before")
    @classmethod
    def _label_words(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): str(label) for key, label in value.items()}
        return tuple(str(label) for label in value) if isinstance(value, list | tuple) else value

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str) -> str:
        if value not in task_kinds.names():
            raise ValueError(f"no kind of task '{value}'; {did_you_mean(value, task_kinds.names())}")
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if not self.label and not task_kinds.find(self.kind).label_optional:
            raise ValueError("the setting 'label' is missing")
        metrics = self.of_kind.metrics
        if self.metric and self.metric not in metrics:
            raise ValueError(f"metric '{self.metric}' isn't for {self.kind}; choose one of {', '.join(metrics)}")
        self.of_kind.check_definition(self)
        if self.label in self.columns:
            raise ValueError(f"'{self.label}' is named as the text and as the label; name the column of each")
        if self.unlabelled and not self.of_kind.learns_unlabelled:
            raise ValueError(f"{self.kind} learns from rows with labels alone; remove 'unlabelled'")
        if isinstance(self.labels, tuple) and len(set(self.labels)) != len(self.labels):
            raise ValueError("a label stands twice in 'labels'")
        return self

    @property
    def of_kind(self) -> TaskKind:
        """What is particular to its kind, as the task's options settle it."""
        return task_kinds.find(self.kind).settled_by(self.options)

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns: one, or two of a pair."""
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def texts_at_a_time(self) -> int:
        """How many texts the model reads at a time: those of a row, unless each goes through it by itself."""
        return 1 if self.of_kind.apart else len(self.columns)

    @property
    def main_metric(self) -> str:
        """The metric that decides."""
        return self.metric or self.of_kind.decides(self)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The model's outputs in their order: the labels; of a regression its column; of question answering start and
        end."""
        return self.of_kind.label_names(self, lambda: rows.read(self.train))

    def load(self, split: SplitName) -> Split:
        """Read and check a split.

        Raises:
            UserError: every fault of the split's data, told together.
        """
        source = getattr(self, split)
        if source is None:
            raise UserError(f"task '{self.name}' has no {split} split")
        table = rows.read(source)
        texts, values = self._clean(table)
        loaded = Split.of(texts, self.of_kind.read_labels(self, texts, values, table))
        if split == "train":
            self._refuse_unfit_labels(source.shown)
            self.of_kind.check_learnable(self, loaded.labels, source.shown)
            if self.train_rows is not None and self.train_rows < len(loaded):
                return loaded.take(_fixed_subset(self.of_kind.strata(loaded.labels), len(loaded), self.train_rows))
        return loaded

    def plain_texts(self, source: PlainTexts) -> list[Text]:
        """Texts without labels, as they stand in one of the places that `unlabelled` names.

        Raises:
            UserError: there is no such file, column or task; or a text can't be one.
        """
        if source.task is None:
            return [
                tuple(self._text(part, number, source.shown) for part in row)
                for number, row in enumerate(source.rows(self.columns), 1)
            ]
        other = Task.find(source.task)
        if len(other.columns) != len(self.columns):
            raise UserError(
                f"unlabelled: the task '{other.name}' has {len(other.columns)} text columns, '{self.name}' "
                f"{len(self.columns)}: name one with as many"
            )
        return other.load("train").texts

    def held_out(self) -> tuple[Split, Split]:
        """The training rows parted for a task that has no validation split: those to learn from, and a tenth to choose
        by. They are the same rows each time; each label keeps its share, and rows of equal texts stay together."""
        rows = self.load("train")
        numbers: dict[Text, int] = {}
        group = np.array([numbers.setdefault(text, len(numbers)) for text in rows.texts])
        first = np.unique(group, return_index=True)[1]
        strata = self.of_kind.strata(rows.labels)
        chosen = _fixed_subset(None if strata is None else strata[first], len(first), round(HELD_OUT * len(first)))
        held = np.isin(group, chosen)
        return rows.take(np.flatnonzero(~held)), rows.take(np.flatnonzero(held))

    def check(self) -> dict[SplitName, Split]:
        """Load every split once, so that a fault shows before work starts; returns them.

        Raises:
            UserError: all faults of all splits.
        """
        faults: list[str] = []
        loaded: dict[SplitName, Split] = {}
        names: tuple[SplitName, ...] = ("train", "validation", "evaluation")
        for split in names:
            if getattr(self, split) is None:
                continue
            try:
                loaded[split] = self.load(split)
            except UserError as error:
                faults += [fault for fault in error.faults if fault not in faults]
        raise_all(faults)
        return loaded

    @cached_property
    def digest(self) -> str:
        """sha256 of the definition and of the data with labels behind it, wherever that lies: what a trained bundle
        depends on. Texts without labels are an input of their own, of the stages that learn from them."""
        definition = self.model_dump(mode="json", exclude=_DATA | self._unsaid)
        loaded = [self.load(split).digest for split in ("train", "evaluation")]
        return hashlib.sha256(json.dumps([definition, loaded]).encode()).hexdigest()

    @classmethod
    def find(cls, reference: str | dict[str, Any], folder: Path | None = None) -> Self:
        """A shipped task by name, a task in a YAML file, or one written out in a recipe.

        Args:
            folder: where relative file names start; by default the YAML file's own folder, or the current one.

        Raises:
            UserError: unknown name, or any fault in the definition.
        """
        if isinstance(reference, dict):
            return build(cls, reference, "task")._rooted(folder or Path.cwd())
        if reference.endswith((".yaml", ".yml")):
            path = (folder or Path.cwd()) / reference
            return build(cls, read_mapping(path), str(path))._rooted(path.parent.resolve())
        shipped = {path.stem: path for path in SHIPPED.glob("*.yaml")}
        if reference not in shipped:
            raise UserError(
                f"no task '{reference}'; {did_you_mean(reference, shipped)} (your own: the name of its .yaml file)"
            )
        return build(cls, read_mapping(shipped[reference]), str(shipped[reference]))

    def write(self, folder: Path) -> None:
        """Write task.json, which a bundle carries, and labels.txt, which an app reads."""
        settled = self
        if self.of_kind.has_labels and not isinstance(self.labels, dict):
            settled = self.model_copy(update={"labels": self.label_names})
        written = settled.model_dump_json(indent=1, exclude=self._unsaid)
        (folder / FILE).write_text(written + "\n", encoding="utf-8")
        (folder / "labels.txt").write_text("\n".join(self.label_names) + "\n", encoding="utf-8")

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The task that a bundle was trained for, or None."""
        path = folder / FILE
        try:
            return build(cls, json.loads(path.read_text(encoding="utf-8")), str(path)) if path.is_file() else None
        except ValueError:
            raise UserError(f"{path} is damaged: remove the folder and make the bundle again") from None

    @property
    def _unsaid(self) -> set[str]:
        """Settings that tasks from before they were there must not have, or digests would change."""
        return ({"options"} if self.options is None else set()) | (set() if self.unlabelled else {"unlabelled"})

    def _refuse_unfit_labels(self, where: str) -> None:
        names = self.label_names if self.of_kind.has_labels else ()
        raise_all([f"{where}: {fault}" for name in names if (fault := unfit(name, self.label))])

    def _rooted(self, folder: Path) -> Self:
        sources = {
            name: source.rooted(folder)
            for name in ("train", "validation", "evaluation")
            if (source := getattr(self, name))
        }
        plain = tuple(source.rooted(folder) for source in self.unlabelled)
        return self.model_copy(update=sources | ({"unlabelled": plain} if plain else {}))

    def _text(self, value: Any, row: int, where: str) -> str:
        try:
            return self.of_kind.text(value)
        except ValueError as error:
            raise UserError(f"{where}, row {row}: {error}") from None

    def _clean(self, table: rows.Table) -> tuple[list[Text], list[Any]]:
        columns = [table.column(name) for name in self.columns]
        texts = [
            tuple(self._text(part, number, table.where) for part in row)
            for number, row in enumerate(zip(*columns, strict=True), 1)
        ]
        values = list(table.column(self.label)) if self.label else [None] * len(texts)
        long = [number for number, text in enumerate(texts, 1) if max(map(len, text)) > self.max_characters]
        empty = [number for number, text in enumerate(texts, 1) if not all(part.strip() for part in text)]
        faults = []
        if long:
            faults.append(
                f"{table.where}: {have(long)} over {self.max_characters:,} characters (the longest: "
                f"{max(len(part) for text in texts for part in text):,}): cut them, or raise max_characters in the task"
            )
        if empty and self.empty_text == "refuse":
            faults.append(
                f"{table.where}: {have(empty)} an empty text: mend them, or set empty_text: drop (or keep) in the task"
            )
        if faults:
            raise UserError(faults)
        if self.empty_text == "drop" and empty:
            kept = sorted(set(range(len(texts))) - {number - 1 for number in empty})
            texts, values = [texts[index] for index in kept], [values[index] for index in kept]
        if not texts:
            raise UserError(f"{table.where} has no rows: give a file with at least some texts and labels")
        return texts, values


def rename(task: Task, **changes: Any) -> Task:
    """The task with other settings, checked again."""
    return build(Task, {**task.model_dump(), **changes}, f"task '{task.name}'")


def task_input(task: str | dict[str, Any] | None, chooses: bool = False) -> dict[str, str]:
    """The data of a stage whose settings name a task, by their role among the stage's inputs; nothing where they name
    none.

    Args:
        chooses: whether the stage chooses by the validation split, where there is one.
    """
    if task is None:
        return {}
    found = Task.find(task)
    validation = {"validation": found.load("validation").digest} if chooses and found.validation is not None else {}
    return {"task": found.digest} | validation


def _fixed_subset(
    strata: "np.ndarray[Any, np.dtype[np.generic]] | None", rows_there: int, rows_wanted: int
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Row numbers of a subset that never changes; each stratum, where there are any, keeps its share."""
    order = np.random.default_rng(0).permutation(rows_there)
    if strata is not None:  # round robin: a row's rank within its stratum decides, the shuffled order breaks ties
        rank = np.empty(rows_there)
        for value in np.unique(strata):
            members = order[strata[order] == value]
            rank[members] = (np.arange(len(members)) + 0.5) / len(members)
        order = order[np.argsort(rank[order], kind="stable")]
    return np.sort(order[:rows_wanted])
