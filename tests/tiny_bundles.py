"""Tiny sealed bundles for the tests of measuring: a random BERT in torch and ONNX, and the linear floor."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import WORDS, _config, write_task, write_tokenizer
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from palmtop.bundle import Bundle, Format, Origin, seal
from palmtop.family import open_classifier
from palmtop.making import make
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import find
from palmtop.task import Task

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MAX_LENGTH = 24


class Flat(torch.nn.Module):
    """The classifier with int32 inputs by position and bare logits, as artefacts have it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.model = open_classifier(folder)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor) -> torch.Tensor:
        """Logits [batch, labels]."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def sealed(folder: Path, bundle_format: Format, stage: str, source: Bundle | None = None, facts: dict[str, Any] | None = None) -> Bundle:
    """Seal what lies in `folder`."""
    seal(folder, bundle_format, Origin(stage=stage, settings={}, inputs={}, versions={}), source, facts or {})
    return Bundle.open(folder)


def torch_bundle(folder: Path, task: dict[str, Any], seed: int = 0, stage: str = "finetune", source: Bundle | None = None) -> Bundle:
    """A random BERT of two layers with the task's head."""
    folder.mkdir(parents=True)
    found = Task.find(task)
    transformers.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=write_tokenizer(folder, "bert"), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=64, num_labels=len(found.label_names), initializer_range=0.5)
    BertForSequenceClassification(config).save_pretrained(folder)
    found.write(folder)
    Signature(inputs=INPUTS, max_length=MAX_LENGTH, pad_id=0).write(folder)
    return sealed(folder, "torch", stage, source)


def adopted(folder: Path, family: str, **changed: Any) -> Bundle:
    """A random model of two layers with the tiny task's head, adopted; its weights are so large that its answers differ widely.

    Args:
        changed: entries of its config.
    """
    (folder / "model").mkdir(parents=True)
    config, labels = _config(family, write_tokenizer(folder / "model", family), 2), sorted(WORDS)
    config.update({"initializer_range": 0.4, "id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)},
                   **changed})
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "model")
    settings = {"model": str(folder / "model"), "task": write_task(folder / "data")}
    return make("adopt", find("adopt")(**settings), None, folder / "adopted", lambda _: None)


def onnx_bundle(folder: Path, source: Bundle) -> Bundle:
    """The same model as ONNX, any batch and length, int32 inputs."""
    folder.mkdir(parents=True)
    batch, tokens = torch.export.Dim("batch", max=64), torch.export.Dim("tokens", max=MAX_LENGTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        torch.onnx.export(Flat(source.path), tuple(torch.ones(2, 8, dtype=torch.int32) for _ in INPUTS), folder / "model.onnx",
                          input_names=list(INPUTS), dynamic_shapes=[{0: batch, 1: tokens} for _ in INPUTS], dynamo=True,
                          external_data=False, verbose=False)
    copy_beside(source, folder)
    return sealed(folder, "onnx", "to_onnx", source, {"precision": "float32"})


def copy_beside(source: Bundle, folder: Path, **signature: Any) -> None:
    """Tokenizer, labels, task and signature (changed as said) of the source."""
    for name in ("tokenizer.json", "labels.txt", "task.json"):
        (folder / name).write_bytes((source.path / name).read_bytes())
    said = json.loads((source.path / "signature.json").read_text())
    Signature(**{**said, **signature}).write(folder)


def linear_bundle(folder: Path, task: dict[str, Any]) -> Bundle:
    """The floor."""
    stage = find("tfidf")
    return make("tfidf", build(stage, {"task": task}, "tfidf"), None, folder, lambda _: None)
