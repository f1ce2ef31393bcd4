"""Tiny sealed bundles: models that are sure of their answers, random ones in torch and ONNX, and the linear floor."""

import json
import sysconfig
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import WORDS, _config, write_model, write_questions, write_task, write_tokenizer
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

from palmtop.bundle import Bundle, FileEntry, Format, Origin, _digest, seal, sha256_of
from palmtop.compress.learning.encoded import Encoded
from palmtop.making import make
from palmtop.models.opening import open_classifier
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

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits [batch, labels]."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


@dataclass(frozen=True)
class Taught:
    """A tiny task and a model that is sure of it. Tests share one: they copy what they change."""

    folder: Path
    task: dict[str, Any]
    base: Bundle
    """The model before its fine-tuning, without a head."""
    teacher: Bundle


def taught(folder: Path, model: Path | None = None, splits: Sequence[str] = ("train", "evaluation")) -> Taught:
    """Fine-tune until no answer is wrong or near a tie, so that none turns with another processor's rounding.

    Args:
        model: a Hugging Face folder; by default a BERT of two layers, 32 wide.
        splits: those in which every text must be right; a model of another kind may err in texts it has never read.
    """
    task = write_task(folder / "data")
    base = _made("adopt", {"model": str(model or write_model(folder / "model", "bert"))}, None, folder / "base")
    settings = {"task": task, "epochs": 20, "learning_rate": 5e-3, "batch_size": 16}
    teacher = _made("finetune", settings, base, folder / "teacher")
    leads = [lead(teacher, split) for split in splits]
    assert min(leads) > 2, f"the tiny model isn't sure: the right logit leads by {leads}"
    return Taught(folder, task, base, teacher)


def taught_reader(folder: Path) -> Taught:
    """A BERT with room for 400 tokens that finds the weather in a context, and is sure of where it begins and ends."""
    task = write_questions(folder / "data")
    base = _made(
        "adopt",
        {"model": str(write_model(folder / "model", "bert", max_position_embeddings=400))},
        None,
        folder / "base",
    )
    settings = {"task": task, "epochs": 16, "learning_rate": 5e-3, "batch_size": 16, "max_length": 400}
    return Taught(folder, task, base, _made("finetune", settings, base, folder / "teacher"))


def lead(bundle: Bundle, split: str) -> float:
    """By how much the right logit is above the next, in the text where that is least; below 0: there is a wrong
    answer."""
    logits, labels = logits_and_labels(bundle, split)
    right = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return float((right[:, 0] - others.amax(1)).min())


def accuracy(bundle: Bundle) -> float:
    """On the evaluation split of its task."""
    logits, labels = logits_and_labels(bundle, "evaluation")
    return float((logits.argmax(1) == labels).float().mean())


def logits_and_labels(bundle: Bundle, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a torch bundle says to a split of its own task: logits [rows, labels] and labels [rows]."""
    task = Task.of(bundle.path)
    assert task is not None
    data = Encoded.of(task.load(split), bundle.path, Signature.read(bundle.path))
    with torch.no_grad():
        logits: torch.Tensor = open_classifier(bundle.path)(**data.batch(range(len(data)))).logits
    return logits, torch.from_numpy(data.labels)


def sealed(
    folder: Path, bundle_format: Format, stage: str, source: Bundle | None = None, facts: dict[str, Any] | None = None
) -> Bundle:
    """Seal what lies in `folder`."""
    seal(folder, bundle_format, Origin(stage=stage, settings={}, inputs={}, versions={}), source, facts or {})
    return Bundle.open(folder)


def reseal(app: Path, restate: bool = False) -> None:
    """Hash everything anew, as one would who wants to be believed: the card, and the manifest where it is to agree."""
    card = json.loads((app / "palmtop.json").read_text())
    if restate:
        manifest = json.loads((app / "manifest.json").read_text())
        manifest["files"] = {name: file_entry(app / name) for name in manifest["files"]}
        (app / "manifest.json").write_text(json.dumps(manifest))
    card["files"] = {name: file_entry(app / name) for name in card["files"]}
    card["digest"] = _digest(card["format"], {name: FileEntry(**entry) for name, entry in card["files"].items()})
    (app / "palmtop.json").write_text(json.dumps(card))


def torch_bundle(
    folder: Path, task: dict[str, Any], seed: int = 0, stage: str = "finetune", source: Bundle | None = None
) -> Bundle:
    """A random BERT of two layers with the task's head."""
    folder.mkdir(parents=True)
    found = Task.find(task)
    transformers.logging.disable_progress_bar()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=write_tokenizer(folder, "bert"),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=len(found.label_names),
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    found.write(folder)
    Signature(inputs=INPUTS, max_length=MAX_LENGTH, pad_id=0).write(folder)
    return sealed(folder, "torch", stage, source)


def adopted(folder: Path, family: str, **changed: Any) -> Bundle:
    """A random model of two layers with the tiny task's head, adopted; its weights are so large that its answers differ
    widely.

    Args:
        changed: entries of its config.
    """
    (folder / "model").mkdir(parents=True)
    config, labels = _config(family, write_tokenizer(folder / "model", family), 2), sorted(WORDS)
    config.update(
        {
            "initializer_range": 0.4,
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            **changed,
        }
    )
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "model")
    settings = {"model": str(folder / "model"), "task": write_task(folder / "data")}
    return _made("adopt", settings, None, folder / "adopted")


def onnx_bundle(folder: Path, source: Bundle) -> Bundle:
    """The same model as ONNX, any batch and length, int32 inputs."""
    folder.mkdir(parents=True)
    batch, tokens = torch.export.Dim("batch", max=64), torch.export.Dim("tokens", max=MAX_LENGTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        torch.onnx.export(
            Flat(source.path),
            tuple(torch.ones(2, 8, dtype=torch.int32) for _ in INPUTS),
            folder / "model.onnx",
            input_names=list(INPUTS),
            dynamic_shapes=[{0: batch, 1: tokens} for _ in INPUTS],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
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


def naming_this_machine(app: Bundle, folder: Path) -> list[str]:
    """The files of an app in which the test's folder stands, or that of palmtop or of the installed packages."""
    places = [str(place).encode() for place in (folder, Path(__file__).parents[1], sysconfig.get_path("purelib"))]
    files = [path for path in sorted(app.path.rglob("*")) if path.is_file()]
    return [path.name for path in files if any(place in path.read_bytes() for place in places)]


def file_entry(path: Path) -> dict[str, Any]:
    """A file as a card and a manifest state it."""
    return {"size_bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, find(use)(**settings), source, out, lambda _: None)
