"""Answering: what a model's outputs mean, as the kind of its task says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from palmtop import task_kinds
from palmtop.data.encoding import Encoding
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task_kinds.answer import Answer

if TYPE_CHECKING:  # an app's import is quick: numpy waits for the first text
    from jaxtyping import Float32
    from numpy import ndarray


@dataclass(frozen=True)
class Purpose:
    """What a model reads, and what its outputs mean."""

    kind: str
    """The kind of its task."""
    columns: tuple[str, ...]
    """Names of the texts that are asked at a time: one, or two of a pair or of a question and its context."""
    labels: tuple[str, ...]
    """Names of the outputs, in their order."""
    signature: Signature | None = None
    """None of a linear model, which has none and answers logits."""

    @property
    def writes(self) -> bool:
        """Whether the model goes on from a text, in place of answering it."""
        return task_kinds.find(self.kind).writes

    @property
    def ranked(self) -> bool:
        """Whether an answer ranks labels by their probabilities."""
        return task_kinds.find(self.kind).ranks


def answers(purpose: Purpose, encodings: Sequence[Encoding], outputs: "Float32[ndarray, 'texts ...']") -> list[Answer]:
    """What a runner's outputs say, text by text.

    Raises:
        UserError: a kind of task that isn't known, or outputs that aren't this task's, or aren't finite.
    """
    import numpy as np

    kind = task_kinds.find(purpose.kind)
    if wrong := [row for row, output in enumerate(outputs, 1) if not np.isfinite(output).all()]:
        raise UserError(
            f"the model answers {len(wrong)} of {len(outputs)} texts (the first: number {wrong[0]}) with something "
            "that is no finite number: its weights are damaged, or its numbers overflow; make it again, in float32"
        )
    if kind.names_outputs and outputs.shape[kind.axis_of_outputs] != len(purpose.labels):
        raise UserError(
            f"the model answers with {outputs.shape[kind.axis_of_outputs]} numbers where its task has "
            f"{len(purpose.labels)}: they don't belong together; make the bundle again"
        )
    return list(kind.told(outputs, encodings, purpose.signature, purpose.labels))
