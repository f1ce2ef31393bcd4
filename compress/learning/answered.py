"""What a model in training answers to texts that it doesn't learn from."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from palmtop.data.encoding import Encoding, pad
from palmtop.models.opening import outputs_of
from palmtop.signature import Signature
from palmtop.task_kinds.kind import TaskKind

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BATCH = 32
"""Texts that are answered at a time."""


def answered(
    model: "PreTrainedModel", kind: TaskKind, encodings: Sequence[Encoding], signature: Signature
) -> list[Float32[np.ndarray, "..."]]:
    """What the kind of task keeps of the answer to each text, padded as it was when it was run. The model stays in the
    mode that it was in."""
    import torch

    training = model.training
    model.eval()
    order = np.argsort([len(encoding) for encoding in encodings], kind="stable")
    answers: list[Float32[np.ndarray, ...]] = []
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = [encodings[place] for place in order[start : start + BATCH]]
            batch = pad(chosen, signature.only_length or max(map(len, chosen)), signature.pad_id)
            inputs = {name: torch.from_numpy(batch[name]).long().to(model.device) for name in signature.inputs}
            said = kind.condensed(outputs_of(model(**inputs)), inputs["input_ids"])
            answers += list(said.float().cpu().numpy())
    model.train(training)
    return [answers[place] for place in np.argsort(order)]
