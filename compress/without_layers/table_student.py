"""What the students that start from their teacher's token vectors have in common."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.compress.distillation.guards import check_labels
from palmtop.errors import UserError
from palmtop.models.family import family_named
from palmtop.stage import Outline
from palmtop.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUTS = ("input_ids", "attention_mask")
"""Of a student: it knows no kinds of token."""


@dataclass(frozen=True)
class Answers:
    """What a student answers."""

    labels: tuple[str, ...] | None
    kind: str | None
    """Of its task."""


def answers_of(stage: str, source: Outline | None, task: str | dict[str, Any] | None, needs_answers: bool) -> Answers:
    """What a student of `source` will answer, before it is made.

    Args:
        task: as the settings name it.
        needs_answers: whether the source's own answers teach.

    Raises:
        UserError: the source has no head that could teach, or other labels than the task; or there is no task.
    """
    if source is None or (source.labels is None and needs_answers):
        raise UserError(
            f"{stage} needs a teacher that was fine-tuned: put a 'finetune' step before it, or set soft_weight: 0 "
            "to learn from the labels alone"
        )
    found = Task.find(task) if task is not None else None
    if found is None and source.labels is None:
        raise UserError(f"{stage} needs a task: the name of a shipped one, or of a task's YAML file")
    if found is not None and source.labels is not None and needs_answers:
        check_labels(dict(enumerate(source.labels)), found)
    return Answers(found.label_names, found.kind) if found is not None else Answers(source.labels, source.task)


def config_of(source: Bundle) -> dict[str, Any]:
    """The teacher's config.json."""
    read: dict[str, Any] = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    return read


def labels_in(config: "Mapping[str, Any]") -> dict[int, str]:
    """The names of a teacher's outputs."""
    return {int(index): label for index, label in config["id2label"].items()}


def unasked(config: "Mapping[str, Any]", seed: int) -> Float32[ndarray, "tokens hidden"]:
    """Random states, as many and as wide as the teacher's would be."""
    shape = (config["vocab_size"], config[family_named(config["model_type"]).width])
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def check_width(word: str, width: int, hidden: int) -> None:
    """Raises: UserError: the setting `word` asks for more numbers than the teacher's hidden states have."""
    if width > hidden:
        raise UserError(
            f"{word} is {width}, but the teacher's hidden states have {hidden} numbers: choose 1 to {hidden}"
        )
