"""Golden answers of an app's folder: of texts as they are asked, and of labels that none has yet."""

from pathlib import Path

import numpy as np

from palmtop import parity
from palmtop.app_manifest import GoldenRow, golden_rows, unseen_labels
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.export.app import two_models
from palmtop.signature import Signature
from palmtop.task import Task

SEARCHED = 512
"""Texts more that are asked for answers with labels that no golden answer has yet, those of such a label first."""


def rows_of(source: Bundle, task: Task, out: Path, encodings: list[Encoding]) -> list[GoldenRow]:
    """What the folder answers to texts; of a cascade to those that aren't on the edge."""
    if source.is_cascade:
        clear = two_models.is_clear(source, out, encodings)
        encodings = [encoding for encoding, kept in zip(encodings, clear, strict=True) if kept]
    return golden_rows(encodings, parity.answers((source.format, out), encodings), task, Signature.read(out))


def of_unseen_labels(source: Bundle, task: Task, out: Path, rows: list[GoldenRow]) -> list[GoldenRow]:
    """Of each label that no golden answer has, one that has it, where one is found among the task's texts."""
    unseen = unseen_labels(rows, task.of_kind, task.label_names)
    texts = _likely_texts(task, set(unseen), {row.text for row in rows}) if unseen else []
    if not texts:
        return []
    asked = Signature.read(out).parts(out)[0] if source.is_cascade else out
    encodings = HostTokenizer.of(asked, Signature.read(asked)).encode(texts)
    found: list[GoldenRow] = []
    for row in rows_of(source, task, out, encodings):
        left = unseen_labels([*rows, *found, row], task.of_kind, task.label_names)
        if len(left) < len(unseen):
            found, unseen = [*found, row], left
    return found


def _likely_texts(task: Task, labels: set[int], known: set[Text]) -> list[Text]:
    """Texts of the task's evaluation data that are none of those known; those labelled so first, where a text has one
    label."""
    split = task.load("evaluation")
    likely = np.isin(split.labels, list(labels)) if split.labels.ndim == 1 else np.zeros(len(split), bool)
    texts = [split.texts[row] for row in np.argsort(~likely, kind="stable")]
    return [text for text in dict.fromkeys(texts) if text not in known][:SEARCHED]
