"""Task: what is learnt and measured: a data set, its columns and labels, the kind of head, the metric."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from palmtop.data import rows
from palmtop.data.rows import SHOWN, Source, have
from palmtop.data.tokenization import Text
from palmtop.errors import UserError, did_you_mean
from palmtop.settings import Settings, build
from palmtop.task_kinds import gold_spans
from palmtop.yaml_file import read_mapping

FILE = "task.json"
SHIPPED = Path(__file__).parent / "tasks"

UNLABELLED = -1
"""The class number that Hugging Face data sets give to rows without a label, as the public test splits of GLUE are."""

SplitName = Literal["train", "validation", "evaluation"]
Kind = Literal["classification", "regression", "question_answering"]
Metric = Literal["accuracy", "macro_f1", "matthews", "pearson", "spearman", "f1", "exact_match"]
METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": ("accuracy", "macro_f1", "matthews"),
    "regression": ("pearson", "spearman"),
    "question_answering": ("f1", "exact_match"),
}
SPAN = ("start_logits", "end_logits")
"""What a model of question answering gives for each token."""
PAIR = 2


@dataclass(frozen=True)
class Split:
    """The rows of one split, clean: `texts` and their labels.

    Labels are class indices (int64) [rows], values (float32) [rows], or the answers to questions as `gold_spans` reads
    them (int64) [rows, answers, 2].
    """

    texts: list[Text]
    labels: "np.ndarray[Any, np.dtype[np.generic]]"
    digest: str
    """sha256 of texts and labels: what a cache or a measurement depends on."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "Split":
        """The rows at `indices`, in that order."""
        texts = [self.texts[index] for index in indices]
        return Split(texts, self.labels[indices], _digest(texts, self.labels[indices]))


class Task(Settings):
    """A data set made into something to learn. Read from palmtop/tasks/NAME.yaml, a YAML file, or a bundle."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: int = 1
    """Raise it when the meaning of the numbers changes."""
    kind: Kind = "classification"
    """What is predicted: one of the labels, a number, or where in a context the answer to a question stands."""
    text: str | tuple[str, str]
    """The column with the text, or the two columns of a pair; of question_answering those of the question and its
    context."""
    label: str
    """The column with the label, the number, or the answers: a text, or {text: [...], answer_start: [...]} as in
    SQuAD."""
    labels: tuple[str, ...] | dict[str, str] | None = None
    """The labels in the model's order; or {value in the column: label}; or nothing: those of the training data,
    sorted."""
    metric: Metric | None = None
    """The number that decides; by default accuracy, pearson or f1."""
    train: Source
    validation: Source | None = None
    evaluation: Source
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

    @field_validator("labels", mode="before")
    @classmethod
    def _label_words(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): str(label) for key, label in value.items()}
        return tuple(str(label) for label in value) if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _metric_fits(self) -> Self:
        if self.metric and self.metric not in METRICS[self.kind]:
            raise ValueError(
                f"metric '{self.metric}' isn't for {self.kind}; choose one of {', '.join(METRICS[self.kind])}"
            )
        if self.labels is not None and self.kind != "classification":
            raise ValueError(
                f"{'a regression' if self.kind == 'regression' else self.kind} has no labels; remove 'labels'"
            )
        if self.kind == "question_answering" and len(self.columns) != PAIR:
            raise ValueError(
                "question_answering needs the question's column and the context's, as in text: [question, context]"
            )
        if self.labels is not None and len(set(self._given_labels())) != len(self._given_labels()):
            raise ValueError("a label stands twice in 'labels'")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The text columns: one, or two of a pair."""
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def main_metric(self) -> Metric:
        """The metric that decides."""
        return self.metric or METRICS[self.kind][0]

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """The model's outputs in their order: the labels; of a regression its column; of question answering start and
        end."""
        if self.kind != "classification":
            return (self.label,) if self.kind == "regression" else SPAN
        if self.labels is not None:
            return self._given_labels()
        table = rows.read(self.train)
        return table.class_names(self.label) or tuple(
            sorted({str(value) for value in table.column(self.label) if not _is_blank(value)})
        )

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
        loaded = Split(texts, labels := self._encode(texts, values, table), _digest(texts, labels))
        if split == "train":
            self._learnable(loaded, source)
            if self.train_rows is not None and self.train_rows < len(loaded):
                return loaded.take(_fixed_subset(loaded.labels, self.train_rows, self.kind == "classification"))
        return loaded

    def check(self) -> None:
        """Load every split once, so that a fault shows before work starts.

        Raises:
            UserError: all faults of all splits.
        """
        faults: list[str] = []
        for split in ("train", "validation", "evaluation"):
            if getattr(self, split) is None:
                continue
            try:
                self.load(split)
            except UserError as error:
                faults += [fault for fault in error.faults if fault not in faults]
        if faults:
            raise UserError(faults)

    @cached_property
    def digest(self) -> str:
        """sha256 of the definition and of the data behind it, wherever that lies: what a trained bundle depends on."""
        definition = self.model_dump(mode="json", exclude={"train", "validation", "evaluation"})
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
        if self.kind == "classification" and not isinstance(self.labels, dict):
            settled = self.model_copy(update={"labels": self.label_names})
        (folder / FILE).write_text(settled.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (folder / "labels.txt").write_text("\n".join(self.label_names) + "\n", encoding="utf-8")

    @classmethod
    def of(cls, folder: Path) -> Self | None:
        """The task that a bundle was trained for, or None."""
        path = folder / FILE
        try:
            return build(cls, json.loads(path.read_text(encoding="utf-8")), str(path)) if path.is_file() else None
        except ValueError:
            raise UserError(f"{path} is damaged: remove the folder and make the bundle again") from None

    def _given_labels(self) -> tuple[str, ...]:
        return tuple(self.labels.values()) if isinstance(self.labels, dict) else tuple(self.labels or ())

    def _rooted(self, folder: Path) -> Self:
        sources = {
            name: source.rooted(folder)
            for name in ("train", "validation", "evaluation")
            if (source := getattr(self, name))
        }
        return self.model_copy(update=sources)

    def _clean(self, table: rows.Table) -> tuple[list[Text], list[Any]]:
        columns = [table.column(name) for name in (*self.columns, self.label)]
        texts = [tuple("" if part is None else str(part) for part in row[:-1]) for row in zip(*columns, strict=True)]
        values = list(columns[-1])
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

    def _encode(
        self, texts: list[Text], values: list[Any], table: rows.Table
    ) -> "np.ndarray[Any, np.dtype[np.generic]]":
        if self.kind == "question_answering":
            return gold_spans.read_spans(values, [context for _, context in texts], table.where, self.label)
        if self.kind == "regression":
            return _numbers(values, table.where, self.label)
        column = self.labels if isinstance(self.labels, dict) else None
        classes = table.class_names(self.label)
        without = [
            number for number, value in enumerate(values, 1) if _is_blank(value) or (classes and value == UNLABELLED)
        ]
        if without:
            raise UserError(
                f"{table.where}: {have(without)} no label in column '{self.label}': remove them, or use a labelled "
                "split"
            )
        index = {name: position for position, name in enumerate(self.label_names)}
        words = [
            classes[value] if classes and isinstance(value, int) and 0 <= value < len(classes) else str(value)
            for value in values
        ]
        named = [column.get(word, word) for word in words] if column else words
        unknown = [number for number, word in enumerate(named, 1) if word not in index]
        if unknown:
            odd = sorted({named[number - 1] for number in unknown})[:5]
            raise UserError(
                f"{table.where}: {have(unknown)} a label unknown to the task: {', '.join(map(repr, odd))} in column "
                f"'{self.label}'; the task knows {len(index)}: "
                f"{', '.join(list(index)[:SHOWN])}{', ...' if len(index) > SHOWN else ''}"
            )
        return np.asarray([index[word] for word in named], np.int64)

    def _learnable(self, split: Split, source: Source) -> None:
        if self.kind != "question_answering" and len(np.unique(split.labels)) <= 1:
            what = (
                f"one label only ('{self.label_names[int(split.labels[0])]}')"
                if self.kind == "classification"
                else "one value only"
            )
            raise UserError(
                f"{source.shown}: all {len(split)} rows have {what}: there is nothing to learn; check the column "
                f"'{self.label}'"
            )


def rename(task: Task, **changes: Any) -> Task:
    """The task with other settings, checked again."""
    return build(Task, {**task.model_dump(), **changes}, f"task '{task.name}'")


def task_input(task: str | dict[str, Any] | None) -> dict[str, str]:
    """The data of a stage whose settings name a task, by their role among the stage's inputs; nothing where they name
    none."""
    return {"task": Task.find(task).digest} if task is not None else {}


def _is_blank(value: Any) -> bool:
    return value is None or not str(value).strip()


def _numbers(values: list[Any], where: str, column: str) -> "np.ndarray[tuple[int], np.dtype[np.generic]]":
    numbers, wrong = [], []
    for row, value in enumerate(values, 1):
        try:
            numbers.append(float(value))
        except (TypeError, ValueError):
            wrong.append(row)
            continue
        if not np.isfinite(numbers[-1]):
            wrong.append(row)
    if wrong:
        raise UserError(
            f"{where}: {have(wrong)} no finite number in column '{column}' (the first: {values[wrong[0] - 1]!r})"
        )
    return np.asarray(numbers, np.float32)


def _fixed_subset(
    labels: "np.ndarray[Any, np.dtype[np.generic]]",
    rows_wanted: int,
    by_label: bool,
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Row numbers of a subset that never changes; with `by_label`, each label keeps its share."""
    order = np.random.default_rng(0).permutation(len(labels))
    if by_label:  # round robin: a row's rank within its label decides, the shuffled order breaks ties
        rank = np.empty(len(labels))
        for value in np.unique(labels):
            members = order[labels[order] == value]
            rank[members] = (np.arange(len(members)) + 0.5) / len(members)
        order = order[np.argsort(rank[order], kind="stable")]
    return np.sort(order[:rows_wanted])


def _digest(texts: list[Text], labels: "np.ndarray[Any, np.dtype[np.generic]]") -> str:
    hashed = hashlib.sha256(json.dumps(texts).encode())
    hashed.update(np.ascontiguousarray(labels).tobytes())
    return hashed.hexdigest()
