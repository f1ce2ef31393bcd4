"""Fine-tune a pretrained transformer on the task: a head of its own on top, plain labels."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from palmtop.bundle import Bundle, Format
from palmtop.compress.matching.layer_choice import Choice, start_layers
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.family import KNOWN, keep_layers
from palmtop.reshaped import opener
from palmtop.signature import Signature
from palmtop.stage import Outline
from palmtop.task import Task, task_input
from palmtop.training import Special, TrainingStage, fit, keep_logs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.training_loop import Batch


class Finetune(TrainingStage):
    """Train a sequence classifier (or a regression) with cross-entropy (or squared error)."""

    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "torch"

    layers: int | tuple[int, ...] | None = None
    """How many of the source's layers are trained, or which (0-based), the others dropped; all by default. With fewer it makes the
    student without a teacher that a distilled one has to beat."""
    choose: Choice = "spread"
    """Which layers a number means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here."""
        return task_input(self.task)

    def outline(self, source: Outline | None) -> Outline:
        """The source with the task's head."""
        if source is None or (self.task is None and source.labels is None):
            raise UserError("finetune needs a task: the name of a shipped one, or of a task's YAML file")
        labels = Task.find(self.task).label_names if self.task is not None else source.labels
        if self.layers is None or source.layers is None:
            return replace(source, format="torch", labels=labels)
        kept = start_layers(self.layers, self.choose, source.layers)
        return replace(source, format="torch", labels=labels, layers=len(kept), layer_sets=None)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Train and write a Hugging Face folder that AutoModelForSequenceClassification opens."""
        assert source is not None  # the driver checked `accepts`
        task = task_of(source, self.task)
        signature = shortened(source, self.max_length)
        model, new = with_head(source.path, task, self.seed)
        if self.layers is not None:
            model = keep_layers(model, start_layers(self.layers, self.choose, model.config.num_hidden_layers))
        data = Encoded.of(task.load("train"), source.path, signature)
        by_labels = label_loss(task)

        def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
            return {"labels": by_labels(student(**model_inputs(batch)).logits.float(), batch["labels"])}

        head = KNOWN[model.config.model_type].new_head if new else ()
        fitted = fit(model, data, loss, self, scratch, special=Special(head, self.head_rate))
        write_classifier(model, source, task, signature, out)
        keep_logs(scratch, out)
        return fitted.facts() | {"rows": len(data), "truncated": data.truncated, "new_weights": new}


def task_of(source: Bundle, task: str | dict[str, Any] | None) -> Task:
    """The task named in the settings, or the one the source was trained for.

    Raises:
        UserError: neither is there.
    """
    found = Task.find(task) if task is not None else Task.of(source.path)
    if found is None:
        raise UserError(f"{source.name} was not trained for a task yet, so name one: --task NAME or --task FILE.yaml")
    return found


def shortened(source: Bundle, max_length: int) -> Signature:
    """The source's signature with the length that training truncates at."""
    signature = Signature.read(source.path)
    return signature.model_copy(update={"max_length": min(max_length, signature.max_length)})


def label_loss(task: Task) -> "Callable[[Tensor, Tensor], Tensor]":
    """(logits [batch, outputs], labels [batch]) -> [batch]: cross-entropy, or squared error for a regression."""
    from torch.nn.functional import cross_entropy, mse_loss

    if task.kind == "regression":
        return lambda logits, labels: mse_loss(logits.squeeze(-1), labels.float(), reduction="none")
    return lambda logits, labels: cross_entropy(logits, labels, reduction="none")


def model_inputs(batch: "Batch") -> "Batch":
    """The part of a batch that a model takes."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}


def write_classifier(model: "PreTrainedModel", source: Bundle, task: Task, signature: Signature, out: Path) -> None:
    """Write weights, tokenizer, task and signature; only the first process of a distributed run does."""
    from palmtop.making import rank

    if rank() > 0:
        return
    model.save_pretrained(out)
    copy_tokenizer(source, out)
    task.write(out)
    signature.write(out)


def copy_tokenizer(source: Bundle, out: Path) -> None:
    """Copy what belongs to a bundle's tokenizer."""
    for path in source.path.iterdir():
        if path.name.startswith(("tokenizer", "special_tokens", "vocab", "merges", "spiece", "spm", "sentencepiece", "added_tokens")):
            shutil.copyfile(path, out / path.name)


def with_head(folder: Path, task: Task, seed: int) -> "tuple[PreTrainedModel, list[str]]":
    """The classifier with the task's labels, and the names of weights that the source had not (they start random)."""
    import torch
    from transformers import AutoModelForSequenceClassification, logging

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    torch.manual_seed(seed)
    names = list(task.label_names)
    model, report = opener(folder, AutoModelForSequenceClassification).from_pretrained(
        folder, num_labels=len(names), id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)},
        problem_type="regression" if task.kind == "regression" else "single_label_classification", ignore_mismatched_sizes=True,
        attn_implementation="eager", dtype="float32", local_files_only=True, use_safetensors=True, output_loading_info=True)
    new = sorted({*report["missing_keys"], *(fault[0] for fault in report["mismatched_keys"])})
    body = [name for name in new if not any(part in name for part in ("classifier", "pooler", "head"))]
    if body:
        raise UserError(f"the weights in {folder} lack {len(body)} of the transformer's own ({body[0]}, ...): "
                        "they don't belong to its config.json")
    return model, new
