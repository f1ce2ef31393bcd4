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
from palmtop.family import KNOWN, SPAN_HEAD, STATIC, keep_layers, outputs_of
from palmtop.reshaped import opener
from palmtop.signature import Signature
from palmtop.stage import EVERY_TASK, Outline
from palmtop.task import Task, task_input
from palmtop.tokenization import check_length_for_spans
from palmtop.training import Special, TrainingStage, fit, keep_logs

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.training_loop import Batch


class Finetune(TrainingStage):
    """Train a sequence classifier, a regression (squared error), or a head that finds the answer to a question in its context."""

    without_layers: ClassVar[bool] = True
    tasks: ClassVar[frozenset[str]] = EVERY_TASK
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
        task = Task.find(self.task) if self.task is not None else None
        tuned = replace(source, format="torch", labels=task.label_names if task else source.labels, task=task.kind if task else source.task)
        if tuned.task == "question_answering":
            check_spans(tuned, self.max_length)
        if self.layers is None or source.layers is None:
            return tuned
        return replace(tuned, layers=len(start_layers(self.layers, self.choose, source.layers)), layer_sets=None)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Train and write a Hugging Face folder that AutoModelForSequenceClassification, or ...ForQuestionAnswering, opens."""
        assert source is not None  # the driver checked `accepts`
        task = task_of(source, self.task)
        spans = task.kind == "question_answering"
        signature = shortened(source, self.max_length).model_copy(update={"output": "spans" if spans else "logits"})
        model, new = with_head(source.path, task, self.seed)
        if self.layers is not None:
            model = keep_layers(model, start_layers(self.layers, self.choose, model.config.num_hidden_layers))
        data = Encoded.of(task.load("train"), source.path, signature)
        by_labels = label_loss(task)

        def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
            return {"labels": by_labels(outputs_of(student(**model_inputs(batch))).float(), batch["labels"])}

        head = () if not new else SPAN_HEAD if spans else KNOWN[model.config.model_type].new_head
        fitted = fit(model, data, loss, self, scratch, special=Special(head, self.head_rate))
        write_classifier(model, source, task, signature, out)
        keep_logs(scratch, out)
        return fitted.facts() | data.facts() | {"new_weights": new}


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
    """(outputs, labels) -> [batch]: cross-entropy of logits [batch, labels], or squared error for a regression.

    Of start and end logits [batch, 2, tokens] and the answer's first and last token [batch, 2]: the mean of both cross-entropies over
    all tokens (Devlin et al. 2018, section 4.2).
    """
    from torch.nn.functional import cross_entropy, mse_loss

    if task.kind == "question_answering":
        return lambda logits, labels: cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(dim=1)
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
    """The model with the task's head, and the names of weights that the source had not (they start random)."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification, logging

    logging.disable_progress_bar()  # of opening a file, a blink; training keeps its own
    torch.manual_seed(seed)
    names = list(task.label_names)
    spans = task.kind == "question_answering"
    problem = {"classification": "single_label_classification", "regression": "regression"}.get(task.kind)
    model, report = opener(folder, AutoModelForQuestionAnswering if spans else AutoModelForSequenceClassification).from_pretrained(
        folder, num_labels=len(names), id2label=dict(enumerate(names)), label2id={name: index for index, name in enumerate(names)},
        problem_type=problem, ignore_mismatched_sizes=True,
        attn_implementation="eager", dtype="float32", local_files_only=True, use_safetensors=True, output_loading_info=True)
    new = sorted({*report["missing_keys"], *(fault[0] for fault in report["mismatched_keys"])})
    body = [name for name in new if not any(part in name for part in ("classifier", "pooler", "head", *SPAN_HEAD))]
    if body:
        raise UserError(f"the weights in {folder} lack {len(body)} of the transformer's own ({body[0]}, ...): "
                        "they don't belong to its config.json")
    return model, new


def check_spans(tuned: Outline, max_length: int) -> None:
    """Raises: UserError: the model or the length isn't for questions on a context."""
    check_length_for_spans(max_length)
    if tuned.family == STATIC.model_type:
        raise UserError(f"a model of the family '{STATIC.model_type}' knows no token from another, so it can't find an answer: fine-tune a "
                        "transformer")
