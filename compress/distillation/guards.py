"""Guards against mistakes that no loss curve shows: other labels or token ids, inputs left out, a teacher that changes
or drops out."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.compress.distillation.teacher_signals import weights_digest
from palmtop.data.tokenization import FILE
from palmtop.errors import UserError
from palmtop.models.family import inputs_of
from palmtop.task import Task

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_CLIENTS_OWN = ("truncation", "padding", "version")
"""Of tokenizer.json: set by whoever encodes, and no part of what the ids mean."""


def check_labels(id2label: dict[int, str], task: Task) -> None:
    """Compare a teacher's outputs with the task's labels, by name and order.

    Raises:
        UserError: they differ; a student would learn to confuse them.
    """
    outputs = tuple(id2label[index] for index in sorted(id2label))
    if outputs == task.label_names:
        return
    if set(outputs) == set(task.label_names):
        first = next(index for index, name in enumerate(outputs) if name != task.label_names[index])
        raise UserError(
            f"the teacher's outputs are the labels of the task '{task.name}' in another order (output {first} is "
            f"'{outputs[first]}', the task has '{task.label_names[first]}'): give the task 'labels' in the teacher's "
            "order"
        )
    raise UserError(
        f"the teacher has {len(outputs)} labels ({', '.join(outputs[:3])}, ...), the task '{task.name}' "
        f"{len(task.label_names)} ({', '.join(task.label_names[:3])}, ...): fine-tune it on this task first"
    )


def check_named_task(labels: Sequence[str], named: str | dict[str, Any] | None) -> None:
    """`check_labels`, where the settings name a task.

    Raises:
        UserError: the labels differ.
    """
    if named is not None:
        check_labels(dict(enumerate(labels)), Task.find(named))


def check_same_tokens(teacher: Path, student: Path) -> None:
    """Compare two bundles' tokenizers: vocabulary, merges, normalisation, special tokens.

    Raises:
        UserError: an id means one word here and another there, or texts are cut up differently.
    """
    theirs, ours = (json.loads((folder / FILE).read_text(encoding="utf-8")) for folder in (teacher, student))
    first = _first_difference(_vocabulary(theirs), _vocabulary(ours))
    if first is not None:
        raise UserError(
            f"the token ids of {teacher.name} and {student.name} mean different words ({first}): take a student with "
            "its teacher's own tokenizer"
        )
    parts = [
        part
        for part in {*theirs, *ours} - {*_CLIENTS_OWN, "model", "added_tokens"}
        if theirs.get(part) != ours.get(part)
    ]
    if parts or _rules(theirs) != _rules(ours):
        raise UserError(
            f"{teacher.name} and {student.name} cut texts up differently ({', '.join(sorted(parts)) or 'model'} in "
            f"{FILE}): take a student with its teacher's own tokenizer"
        )


def reads_alike(teacher: Path, student: Path) -> bool:
    """Whether two bundles cut texts up into the same tokens, under the same ids."""
    try:
        check_same_tokens(teacher, student)
    except UserError:
        return False
    return True


def check_inputs(config: "PreTrainedConfig", inputs: Sequence[str], name: str) -> None:
    """Compare what a teacher takes with what it would be given.

    Raises:
        UserError: an input is missing or one too many; without token types the second text of a pair looks like the
        first.
    """
    wanted = inputs_of(config.to_dict())
    if set(wanted) != set(inputs):
        raise UserError(
            f"the teacher {name} takes {', '.join(wanted)}, but its signature.json says {', '.join(inputs)}: adopt "
            "the model again"
        )


@contextmanager
def unchanged(teacher: "PreTrainedModel") -> Iterator[None]:
    """Hold a teacher in eval mode and without gradients, and see to it that it is the same afterwards.

    Raises:
        RuntimeError: it was put in training mode, or a weight changed.
    """
    before = weights_digest(teacher.eval().requires_grad_(False))
    yield
    if teacher.training:
        raise RuntimeError("the teacher was put in training mode: its dropout was learnt")
    if weights_digest(teacher) != before:
        raise RuntimeError("the teacher changed while its student was trained")


def _vocabulary(tokenizer: dict[str, Any]) -> dict[int, str]:
    """Token of each id."""
    listed = tokenizer["model"]["vocab"]
    tokens = (
        {index: token for token, index in listed.items()}
        if isinstance(listed, dict)
        else dict(enumerate(row[0] for row in listed))
    )
    return tokens | {added["id"]: added["content"] for added in tokenizer.get("added_tokens", [])}


def _rules(tokenizer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tokenizer["model"].items() if name != "dropout"}


def _first_difference(theirs: dict[int, str], ours: dict[int, str]) -> str | None:
    odd = next((index for index in sorted({*theirs, *ours}) if theirs.get(index) != ours.get(index)), None)
    return None if odd is None else f"id {odd} is {theirs.get(odd)!r} in one and {ours.get(odd)!r} in the other"
