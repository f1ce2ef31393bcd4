"""Random models with the head of any kind of task, adopted: their answers differ widely from text to text."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import _config, write_tokenizer
from tiny_bundles import sealed

from palmtop.bundle import Bundle
from palmtop.making import make_by_name
from palmtop.models.static_model import StaticConfig, StaticForSequenceClassification
from palmtop.signature import Signature
from palmtop.task import Task


def headed(folder: Path, family: str, task: dict[str, Any]) -> Bundle:
    """A transformer of two layers with the task's head."""
    found = Task.find(task)
    (folder / "model").mkdir(parents=True)
    config = _config(family, write_tokenizer(folder / "model", family), 2)
    config.update({"initializer_range": 0.4, **_labels(found)})
    torch.manual_seed(1)
    auto = getattr(transformers, f"AutoModel{found.of_kind.architecture}")
    auto.from_config(config).save_pretrained(folder / "model")
    return make_by_name("adopt", {"model": folder / "model", "task": task}, None, folder / "adopted", lambda _: None)


def static(folder: Path, task: dict[str, Any], max_length: int = 64) -> Bundle:
    """A static student, with a table as wide as its head."""
    found = Task.find(task)
    folder.mkdir(parents=True)
    torch.manual_seed(1)
    config = StaticConfig(vocab_size=write_tokenizer(folder, "bert"), hidden_size=16, head_size=12, **_labels(found))
    config.initializer_range = 0.5
    StaticForSequenceClassification(config).save_pretrained(folder)
    found.write(folder)
    Signature(inputs=("input_ids", "attention_mask"), max_length=max_length, pad_id=0).write(folder)
    return sealed(folder, "torch", "static")


def _labels(task: Task) -> dict[str, Any]:
    labels = task.label_names
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: place for place, label in enumerate(labels)},
        "problem_type": task.of_kind.problem_type,
    }
