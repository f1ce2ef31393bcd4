"""Learning from plain text: the sequences and their targets, those kept apart, and the loss on them before and
after."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from palmtop.compress.language_models.step_means import Targets
from palmtop.compress.language_models.text_settings import OnText
from palmtop.compress.learning.encoded import Encoded, take
from palmtop.compress.learning.fit import fit
from palmtop.compress.learning.special import Special
from palmtop.errors import UserError
from palmtop.processes import rank

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from palmtop.compress.language_models.teacher_words import TeacherWords
    from palmtop.compress.learning.training_loop import Loss, Signals
    from palmtop.models.language_model import Answering


NEARLY = 0.95
"""Share of the loss of pure chance from which on a teacher is taken for untrained."""


@dataclass(frozen=True)
class LearntText:
    """What is learnt from, and what is measured on."""

    data: Encoded
    targets: Targets
    held_out: tuple[Encoded, Targets] | None
    counts: dict[str, int]
    """Of the texts that were read: what became of them."""


def parted(data: Encoded, apart: int, seed: int) -> tuple[Encoded, Encoded | None]:
    """The sequences to learn from, and so many kept apart, drawn once.

    Raises:
        UserError: more would be kept apart than learnt from.
    """
    if 2 * apart > len(data):
        raise UserError(
            f"the text makes {len(data):,} sequences, of which held_out would keep {apart:,} apart: give more text, "
            f"or set held_out to {len(data) // 2} at most"
        )
    order = np.random.default_rng((seed, 3)).permutation(len(data))
    return take(data, np.sort(order[apart:]).tolist()), take(data, np.sort(order[:apart]).tolist()) if apart else None


def learn(
    model: "PreTrainedModel",
    text: LearntText,
    loss: "Loss",
    settings: OnText,
    scratch: Path,
    new: tuple[str, ...] = (),
    said: "TeacherWords | None" = None,
) -> dict[str, Any]:
    """Train `model` in place, and return the facts. `new`: modules at the head's rate; `said`: a teacher's answers from
    the cache."""

    def signals(rows: Any) -> "dict[str, Any]":
        return text.targets.batch(rows) | (said.batch(rows) if said else {})

    taught: Signals = signals
    before = mean_terms(model, *text.held_out, loss, settings.batch_size) if text.held_out else {}
    special = Special(new, settings.head_rate, whole_table=True, each_epoch=text.targets.begin)
    fitted = fit(model, text.data, loss, settings, scratch, taught, special)
    after = mean_terms(model, *text.held_out, loss, settings.batch_size) if text.held_out else {}
    return (
        fitted.facts()
        | text.counts
        | {
            "rows": len(text.data),
            "asked_share": round(float(np.mean(text.targets.positions)), 4),
            "held_out": len(text.held_out[0]) if text.held_out else 0,
            "loss_before": before,
            "loss_after": after,
        }
        | _facts_of(said)
    )


def mean_terms(
    model: "PreTrainedModel", data: Encoded, targets: Targets, loss: "Loss", batch_size: int
) -> dict[str, float]:
    """Each term of the loss, weighted as in training, on data that isn't learnt from; without dropout."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    was_training, order = model.training, np.argsort(data.lengths, kind="stable")
    targets.begin(0, order.tolist())
    model.to(device).eval()
    sums: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size].tolist()
            batch = data.batch(rows) | {"labels": torch.from_numpy(data.labels[rows])} | targets.batch(rows)
            for name, values in loss(model, {name: value.to(device) for name, value in batch.items()}).items():
                sums[name] = sums.get(name, 0.0) + float(values.sum())
    model.train(was_training)
    return {name: round(total / len(data), 6) for name, total in sums.items()}


def told_of(
    teacher: "Answering", model: "PreTrainedModel", text: LearntText, batch_size: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """How well a teacher does itself on the text kept apart; said aloud where it does no better than chance."""
    from palmtop.compress.language_models.word_losses import teachers_own

    if text.held_out is None:
        return {}
    own = mean_terms(model, *text.held_out, teachers_own(teacher), batch_size)
    chance = math.log(model.config.vocab_size)
    if own["words"] > NEARLY * chance and rank() == 0:
        say(
            f"the teacher finds the right words no better than by chance (loss {own['words']:.2f}, chance "
            f"{chance:.2f}): its head looks untrained; train it with the stage 'masked_lm', or take another teacher"
        )
    return {"teacher_loss": own}


def _facts_of(said: "TeacherWords | None") -> dict[str, Any]:
    if said is None:
        return {}
    return {
        "signals_bytes": said.size_bytes,
        "signals_seconds": said.seconds,
        "signals_reused": said.reused,
        "rest_mean": round(said.mean_rest, 4),
        "rest_largest": round(said.largest_rest, 4),
    }
