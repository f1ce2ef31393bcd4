"""What an app's folder says of itself: manifest.json, and golden.jsonl, which every client is tested against."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop.bundle import FileEntry, Format
from palmtop.data.encoding import Encoding
from palmtop.errors import UserError

if TYPE_CHECKING:  # an app's import is quick: numpy waits for the first text
    from jaxtyping import Float32
    from numpy import ndarray

    from palmtop.signature import Signature
    from palmtop.task import Task
    from palmtop.task_kinds.kind import TaskKind

MANIFEST, GOLDEN, README = "manifest.json", "golden.jsonl", "README.md"
LABELS, VOCABULARY = "labels.txt", "vocab.txt"
"""Lines; in a .tflite for the Task clients they are packed with the model too."""

NOT_STATED = "not stated"
ANSWERS = "answers"
"""What manifest.json says of a client that answers as the model's own runtime does."""

DIGITS = 9
"""Significant digits that tell every float32 apart."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Step(_Frozen):
    """One step of the way from the pretrained model to this app."""

    stage: str
    format: Format
    digest: str
    settings: dict[str, Any]


class Tolerance(_Frozen):
    """How far another machine's answers to the golden texts may be from those in golden.jsonl."""

    difference: float
    """Largest difference of an output, as a share of the outputs' spread over the golden texts."""
    typical: float
    """Root mean square of the differences, as a share of the spread."""
    agreement: float
    """Least share of texts with the same first answer."""


LIMITS = Tolerance(difference=2.0, typical=0.1, agreement=0.9)
"""Who differs by more isn't the same model any more, whatever a manifest lets through."""


class Manifest(_Frozen):
    """manifest.json."""

    palmtop: int = 1
    name: str
    description: str
    version: str
    author: str
    format: Format
    """Of the model in this folder."""
    precision: str
    task: str
    kind: str
    texts: Literal[1, 2]
    """What is asked at a time: one text, or a pair; 2 also for a question and its context."""
    clients: dict[str, str]
    """What was found of each client: that it answers as the model's own runtime does, or why not."""
    licences: dict[str, str]
    """Of the model, of the data it learnt from, of the code beside it."""
    tolerance: Tolerance
    golden_texts: int | None = None
    """How many rows golden.jsonl has; None in apps from before it was stated."""
    unseen_labels: dict[int, str] | None = None
    """Outputs, from 0, that are the largest of no golden answer, and their labels: who mixes these up isn't found out
    by golden.jsonl. None in apps from before it was stated."""
    versions: dict[str, str]
    """With which the golden answers were made."""
    processor: str
    lineage: tuple[Step, ...]
    """From the first ancestor to the model in this folder."""
    files: dict[str, FileEntry]

    def write(self, folder: Path) -> None:
        """Write manifest.json into `folder`."""
        (folder / MANIFEST).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of an app.

        Raises:
            UserError: it isn't there, or damaged.
        """
        path = folder / MANIFEST
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder} has no {MANIFEST}: it isn't an app; make it again with 'palmtop to_app'"
            ) from None
        except (ValidationError, UnicodeDecodeError):
            raise UserError(f"{path} is damaged: make the app again") from None


class GoldenRow(_Frozen):
    """A text, what a tokenizer has to make of it, and what the model answers."""

    text: tuple[str, ...]
    input_ids: tuple[int, ...]
    """Special tokens in, cut to the model's length, unpadded."""
    token_type_ids: tuple[int, ...]
    outputs: tuple[float, ...]
    """Of a question and its context: the start logit of every token, then the end logits, -10000 where a token isn't
    the context's, nor [CLS] of a model that may say that there is no answer."""
    answer: str | None
    """The label of the largest output; None for a regression; the words of the context where a question was asked,
    nothing ("") where it has no answer there."""


def golden_rows(
    encodings: Sequence[Encoding],
    outputs: "Float32[ndarray, 'texts ...']",
    task: "Task",
    signature: "Signature | None" = None,
) -> list[GoldenRow]:
    """The rows of golden.jsonl, of the artefact with this signature."""
    kind = task.of_kind
    answered = kind.said(outputs, encodings, task.label_names, signature)
    return [
        GoldenRow(
            text=row.text,
            input_ids=tuple(row.input_ids.tolist()),
            token_type_ids=tuple(row.token_type_ids.tolist()),
            outputs=tuple(float(f"{value:.{DIGITS}g}") for value in kind.golden_outputs(answer, len(row))),
            answer=said,
        )
        for row, answer, said in zip(encodings, outputs, answered, strict=True)
    ]


def golden_outputs(rows: Sequence[GoldenRow], kind: "TaskKind") -> "Float32[ndarray, 'texts ...']":
    """The outputs in golden.jsonl as a runner gives them."""
    return kind.from_golden([row.outputs for row in rows], [len(row.input_ids) for row in rows])


def unseen_labels(rows: Sequence[GoldenRow], kind: "TaskKind", labels: Sequence[str]) -> dict[int, str]:
    """Outputs that are the largest of no golden answer, not even for a token of it, and their labels; none where
    outputs are no labels."""
    if kind.outputs_per_token is not None or not kind.names_outputs:
        return {}
    import numpy as np

    largest = (np.reshape(row.outputs, (-1, len(labels))).argmax(axis=1) for row in rows)
    seen = {int(place) for places in largest for place in places}
    return {place: label for place, label in enumerate(labels) if place not in seen}


def write_golden(folder: Path, rows: Sequence[GoldenRow]) -> None:
    """Write golden.jsonl."""
    (folder / GOLDEN).write_text(
        "".join(json.dumps(row.model_dump(), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )


def read_golden(folder: Path) -> list[GoldenRow]:
    """Read golden.jsonl.

    Raises:
        UserError: it isn't there, or a line is damaged.
    """
    path = folder / GOLDEN
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise UserError(f"{folder} has no {GOLDEN}: make the app again") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: make the app again") from None
    try:
        return [GoldenRow.model_validate_json(line) for line in lines if line]
    except ValidationError:
        raise UserError(f"{path} is damaged: make the app again") from None
