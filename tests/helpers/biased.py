"""Tiny classifiers whose biases aren't 0, so that leaving one out shows; and what they answer."""

from pathlib import Path
from typing import Any

import torch
from tiny_bundles import sealed

from palmtop.bundle import Bundle
from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.pruning.calibration import calibration_batches
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.task import Task


def with_biases(source: Bundle, out: Path) -> Bundle:
    model = open_classifier(source.path)
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return written(model, source, out)


def written(model: Any, source: Bundle, out: Path) -> Bundle:
    """A model in the place of its source's."""
    out.mkdir(parents=True)
    for path in source.path.iterdir():
        if path.name not in ("palmtop.json", "model.safetensors", "config.json"):
            (out / path.name).write_bytes(path.read_bytes())
    model.save_pretrained(out)
    return sealed(out, "torch", "movement", source)


def texts_of(source: Bundle, rows: int) -> list[Any]:
    task = Task.of(source.path)
    assert task is not None
    return calibration_batches(Encoded.of(task.load("train"), source.path, Signature.read(source.path)), rows, 0)


def answers(model: Any, batches: list[Any]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model.eval()(**model_inputs(batch)).logits for batch in batches])
