"""Torch bundles as training reads and writes them: the task, the length, the folder with weights, tokenizer, task and
signature."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.bundle import Bundle
from palmtop.compress.learning.answered import answered
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task import Split, Task

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def task_of(source: Bundle, task: str | dict[str, Any] | None) -> Task:
    """The task named in the settings, or the one the source was trained for.

    Raises:
        UserError: neither is there.
    """
    found = Task.find(task) if task is not None else source.task
    if found is None:
        raise UserError(f"{source.name} was not trained for a task yet, so name one: --task NAME or --task FILE.yaml")
    return found


def shortened(source: Bundle, max_length: int) -> Signature:
    """The source's signature with the length that training truncates at, and pads to where padding changes the answers.

    Raises:
        UserError: such a source was trained for its task at another length.
    """
    signature = source.signature
    length = min(max_length, signature.max_length)
    if signature.only_length is None:
        return signature.model_copy(update={"max_length": length})
    if source.task is not None and length != signature.only_length:
        raise UserError(
            f"{source.name} was trained on texts padded to {signature.only_length} tokens, and padding changes its "
            f"answers: give max_length: {signature.only_length}, or fine-tune what it was made of at {length}"
        )
    return signature.model_copy(update={"max_length": length, "lengths": (length,)})


def write_classifier(
    model: "PreTrainedModel",
    source: Bundle,
    task: Task,
    signature: Signature,
    out: Path,
    held: Split | None = None,
    tokenizer: Path | None = None,
) -> None:
    """Write weights, tokenizer, task and signature; only the first process of a distributed run does.

    Args:
        held: rows that weren't learnt from, where the task has no validation split; thresholds are chosen on them.
        tokenizer: a folder with the model's tokenizer, where it isn't the source's.
    """
    from palmtop.processes import rank

    if rank() > 0:
        return
    words = tokenizer or source.path
    signature = _settled(model, words, task, signature, held)
    model.save_pretrained(out)
    copy_tokenizer(words, out)
    task.write(out)
    signature.write(out)


def _settled(model: "PreTrainedModel", words: Path, task: Task, signature: Signature, held: Split | None) -> Signature:
    """The signature with what the kind of the task chooses on the validation rows when a training is over."""
    rows = task.load("validation") if task.validation is not None else held
    if not task.of_kind.settles or rows is None:
        return signature
    encodings = HostTokenizer.of(words, signature).encode(rows.texts)
    outputs = task.of_kind.joined(answered(model, task.of_kind, encodings, signature), encodings)
    return task.of_kind.settled(outputs, rows.labels, signature, encodings)


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Copy what belongs to the tokenizer in a folder."""
    for path in folder.iterdir():
        if path.name.startswith(
            ("tokenizer", "special_tokens", "vocab", "merges", "spiece", "spm", "sentencepiece", "added_tokens")
        ):
            shutil.copyfile(path, out / path.name)
