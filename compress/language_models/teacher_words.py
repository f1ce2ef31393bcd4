"""What a language model says of the words at each position: computed once, kept on disk as the k most probable and the
rest.

A row of BERT's vocabulary is 122 KB at each position; k = 32 takes 260 bytes. What that loses is in `word_buckets`.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, Int, Int32
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.compress.distillation.teacher_signals import weights_digest
from palmtop.compress.language_models.step_means import Targets
from palmtop.compress.learning.encoded import Encoded
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.folders import cache, fill_once
from palmtop.models.family import inputs_of
from palmtop.models.language_model import Asked, Kind, open_language_model
from palmtop.processes import rank
from palmtop.progress import followed

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.language_models.word_buckets import Buckets

CARD = "words.json"
BATCH = 16
HALF_LIMIT = 6e4
"""float16, in which hidden states are kept, ends at 65,504."""
MUCH = 0.2
"""Mean probability outside the k words from which on it is told."""
_PARTS = ("ids", "log_probabilities", "log_rest")


@dataclass(frozen=True)
class WantedWords:
    """Which answers."""

    kind: Kind
    top: int
    """k: so many tokens keep a probability of their own."""
    temperature: float
    everywhere: bool
    """At every real position; otherwise at those with a target."""
    hidden: bool
    """The last hidden states too, at every real position, in float16."""


@dataclass(frozen=True)
class TeacherWords:
    """Memory-mapped answers. Those of row r are at `starts[r]:starts[r + 1]`, in natural logarithms."""

    ids: Int32[ndarray, "positions k"]
    log_probabilities: Float32[ndarray, "positions k"]
    log_rest: Float32[ndarray, " positions"]
    hidden: Float16[ndarray, "tokens width"] | None
    starts: Int[ndarray, " rows_plus_one"]
    offsets: Int[ndarray, " rows_plus_one"]
    mean_rest: float
    """Mean probability of all but the k most probable, at temperature T."""
    largest_rest: float
    size_bytes: int
    seconds: float
    """What computing them took, once."""
    reused: bool

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """`teacher_ids` and `teacher_log_probabilities` [chosen, k], `teacher_log_rest` [chosen], row after row;
        `teacher_hidden` [batch, tokens, width] (padded with 0), float32.
        """
        import torch

        places = np.concatenate([np.arange(self.starts[row], self.starts[row + 1]) for row in rows])
        made = {
            "teacher_ids": torch.from_numpy(self.ids[places].astype(np.int64)),
            "teacher_log_probabilities": torch.from_numpy(self.log_probabilities[places]),
            "teacher_log_rest": torch.from_numpy(self.log_rest[places]),
        }
        if self.hidden is not None:
            longest = max(int(self.offsets[row + 1] - self.offsets[row]) for row in rows)
            made["teacher_hidden"] = padded = torch.zeros(len(rows), longest, self.hidden.shape[1])
            for place, row in enumerate(rows):
                start, end = self.offsets[row], self.offsets[row + 1]
                padded[place, : end - start] = torch.from_numpy(self.hidden[start:end].astype(np.float32))
        return made


def words(teacher: Bundle, targets: Targets, wanted: WantedWords, say: Callable[[str], None]) -> TeacherWords:
    """The teacher's answers for targets that never change, from the cache if the same were ever asked for.

    The cache key is the digest of the teacher, of all token ids it sees, of the positions, and of what is wanted. In a
    distributed run the first process computes, the others wait for it.

    Raises:
        UserError: the disk has no room for them, or the teacher's answers are not finite.
    """
    positions = np.ones_like(targets.positions) if wanted.everywhere else targets.positions
    folder = cache("teacher_words") / _key(teacher, targets.asked, positions, wanted)
    reused = fill_once(folder, lambda into: _compute(teacher, targets.asked, positions, wanted, into, say), say)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if card["mean_rest"] > MUCH and rank() == 0:
        say(
            f"the {wanted.top} most probable words leave {card['mean_rest']:.0%} of the teacher's probability to all "
            "others, about which the student learns nothing but their sum: take a larger top, a lower temperature "
            f"(now {wanted.temperature}), or let the teacher answer at each step"
        )
    ids, log_probabilities, log_rest = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in _PARTS)
    hidden = np.load(folder / "hidden.npy", mmap_mode="r") if wanted.hidden else None
    return TeacherWords(
        ids,
        log_probabilities,
        log_rest,
        hidden,
        _starts(targets.asked, positions),
        targets.asked.offsets,
        card["mean_rest"],
        card["largest_rest"],
        sum(path.stat().st_size for path in folder.glob("*.npy")),
        card["seconds"],
        reused,
    )


def _starts(data: Encoded, positions: Bool[ndarray, " tokens"]) -> Int[ndarray, " rows_plus_one"]:
    before = np.concatenate([[0], np.cumsum(positions)])
    starts: Int[ndarray, " rows_plus_one"] = before[data.offsets]
    return starts


def _key(teacher: Bundle, data: Encoded, positions: Bool[ndarray, " tokens"], wanted: WantedWords) -> str:
    content = [
        teacher.digest,
        data.digest,
        hashlib.sha256(np.packbits(positions).tobytes()).hexdigest(),
        asdict(wanted),
        1,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _compute(
    teacher: Bundle,
    data: Encoded,
    positions: Bool[ndarray, " tokens"],
    wanted: WantedWords,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    started = time.monotonic()
    model = open_language_model(teacher.path, wanted.kind).model
    if wanted.top >= model.config.vocab_size:
        raise UserError(f"top is {wanted.top}, but the vocabulary has {model.config.vocab_size} tokens: choose fewer")
    before = weights_digest(model)
    arrays = _arrays(folder, len(data.ids), int(positions.sum()), int(model.config.hidden_size), wanted)
    say(
        f"teacher's words at {int(positions.sum()):,} positions of {len(data):,} sequences, the {wanted.top} most "
        "probable and the rest"
    )
    _fill(model, data, positions, wanted, arrays)
    if model.training or weights_digest(model) != before:
        raise RuntimeError("the teacher changed while it was asked")
    rest = np.exp(arrays["log_rest"])
    write_durably(
        folder / CARD,
        json.dumps(
            {
                "seconds": round(time.monotonic() - started, 1),
                "teacher": teacher.digest,
                "mean_rest": float(rest.mean()),
                "largest_rest": float(rest.max()),
            }
        ),
    )


def _arrays(folder: Path, tokens: int, positions: int, width: int, wanted: WantedWords) -> dict[str, Any]:
    """Empty files of the final sizes.

    Raises:
        UserError: the disk has no room for them.
    """
    shapes = {
        "ids": (np.int32, (positions, wanted.top)),
        "log_probabilities": (np.float32, (positions, wanted.top)),
        "log_rest": (np.float32, (positions,)),
    } | ({"hidden": (np.float16, (tokens, width))} if wanted.hidden else {})
    needed = sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in shapes.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the teacher's words need {needed / 1e9:.2f} GB in {folder.parent}, which has {free / 1e9:.2f} GB free: "
            "free some space, set PALMTOP_CACHE to a larger disk, take a smaller top, or let the teacher answer anew "
            "at each step"
        )
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", kind, shape)
        for name, (kind, shape) in shapes.items()
    }


def _fill(
    model: "PreTrainedModel",
    data: Encoded,
    positions: Bool[ndarray, " tokens"],
    wanted: WantedWords,
    arrays: dict[str, Any],
) -> None:
    import torch

    from palmtop.compress.language_models.word_buckets import buckets

    device, head = torch.device("cuda" if torch.cuda.is_available() else "cpu"), Asked(model)
    model.to(device)
    starts, inputs = _starts(data, positions), inputs_of(model.config.to_dict())
    marks = replace(data, ids=positions.astype(np.int32), inputs=("input_ids",), pad_id=0)
    order = np.argsort(data.lengths, kind="stable")
    with torch.inference_mode():
        for start in followed(range(0, len(order), BATCH), "teacher", "batch"):
            rows = order[start : start + BATCH].tolist()
            head.chosen = marks.batch(rows)["input_ids"].bool().to(device)
            batch = data.batch(rows)
            output = model(**{name: batch[name].to(device) for name in inputs}, output_hidden_states=wanted.hidden)
            _store(buckets(output[0], wanted.top, wanted.temperature), rows, starts, arrays)
            if wanted.hidden:
                _store_hidden(output.hidden_states[-1], rows, data, arrays["hidden"])
    for array in arrays.values():
        array.flush()
    model.cpu()


def _store(
    found: "Buckets", rows: Sequence[int], starts: Int[ndarray, " rows_plus_one"], arrays: dict[str, Any]
) -> None:
    if not bool(found.log_probabilities.isfinite().all()):
        raise UserError(
            "the teacher answers with numbers that are not finite: it is broken, or was trained until it diverged"
        )
    values = {name: getattr(found, name).cpu().numpy() for name in _PARTS}
    done = 0
    for row in rows:
        count = int(starts[row + 1] - starts[row])
        for name in _PARTS:
            arrays[name][starts[row] : starts[row + 1]] = values[name][done : done + count]
        done += count


def _store_hidden(
    states: "Tensor", rows: Sequence[int], data: Encoded, array: Float16[ndarray, "tokens width"]
) -> None:
    values = states.float().cpu().numpy()
    if np.abs(values).max() > HALF_LIMIT:
        raise UserError(
            f"a hidden state of the teacher is {np.abs(values).max():.3g}, more than float16 holds: let the teacher "
            "answer anew at each step, or set cosine_weight: 0"
        )
    for place, row in enumerate(rows):
        array[data.offsets[row] : data.offsets[row + 1]] = values[place, : data.lengths[row]]
