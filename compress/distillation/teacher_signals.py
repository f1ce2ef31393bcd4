"""What a teacher says about the training data: computed once, kept on disk, memory-mapped, for every distilling
method."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.compress.learning.encoded import Encoded, padded, sequences_of
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.folders import cache, fill_once
from palmtop.models.opening import open_with_head, outputs_of
from palmtop.progress import followed
from palmtop.task_kinds.kind import TaskKind

if TYPE_CHECKING:
    from torch import Tensor

CARD = "signals.json"
BATCH = 64
FLOAT_BYTES = 4
HALF_LIMIT = 6e4
"""float16 ends at 65,504."""


@dataclass(frozen=True)
class Wanted:
    """Which signals. Layers are indices into `hidden_states`: 0 is the embedding output, i the output of layer i."""

    hidden: tuple[int, ...] = ()
    dtype: Literal["float16", "float32"] = "float16"
    """In which hidden states are kept; logits are always float32."""


@dataclass(frozen=True)
class TeacherSignals:
    """Memory-mapped signals for every row of a data set."""

    logits: Float[ndarray, "sequences_or_tokens outputs"]
    """[sequences, outputs], a row being one or several; of a kind that answers for every token, [tokens, outputs]."""
    hidden: dict[int, Float[ndarray, "tokens width"]]
    offsets: Int[ndarray, " rows_plus_one"]
    size_bytes: int
    seconds: float
    """What computing them took, once."""
    reused: bool
    """Whether they lay on disk already."""
    kind: TaskKind
    """Of the task that the teacher answers."""
    length: int | None = None
    """Tokens that every batch is padded to; None: to its longest row."""
    each: int = 1
    """Sequences of a row (`Encoded.each`)."""

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """`teacher_logits` and `teacher_hidden_<i>` [batch, tokens, width] (padded with 0), float32.

        Logits are [batch, outputs], or those of every token as the head gives them, padded with the kind's filler.
        """
        import torch

        rows = sequences_of(rows, self.each)
        if self.kind.per_token:
            made = {"teacher_logits": self.kind.by_token(self._padded(self.logits, rows, self.kind.filler))}
        else:
            made = {"teacher_logits": torch.from_numpy(self.logits[rows])}
        return made | {
            f"teacher_hidden_{layer}": self._padded(states, rows, 0.0) for layer, states in self.hidden.items()
        }

    def _padded(self, values: Float[ndarray, "tokens width"], rows: Sequence[int], filler: float) -> "Tensor":
        import torch

        return torch.from_numpy(padded(values, self.offsets, rows, filler, self.length).astype(np.float32))


def signals(teacher: Bundle, data: Encoded, wanted: Wanted, say: Callable[[str], None]) -> TeacherSignals:
    """The teacher's signals for `data`, from the cache if the same were ever asked for and are as they were sealed.

    The cache key is the digest of the teacher, of all token ids, and of what is wanted. In a distributed run the first
    process computes, the others wait for it.

    Raises:
        UserError: the disk has no room for them, or the teacher's answers are not finite.
    """
    folder = folder_of(teacher, data, wanted)
    reused = fill_once(folder, lambda into: _compute(teacher, data, wanted, into, say), say)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return open_signals(folder, data, wanted, card["seconds"], reused)


def folder_of(teacher: Bundle, data: Encoded, wanted: Wanted) -> Path:
    """Where the signals lie, or would: with a seal in it once they are whole."""
    return cache("teacher") / _key(teacher, data, wanted)


def open_signals(folder: Path, data: Encoded, wanted: Wanted, seconds: float, reused: bool) -> TeacherSignals:
    """Memory-map what `fill` left in a folder."""
    hidden = {layer: np.load(folder / f"hidden-{layer}.npy", mmap_mode="r") for layer in wanted.hidden}
    size = sum(path.stat().st_size for path in folder.glob("*.npy"))
    return TeacherSignals(
        np.load(folder / "logits.npy", mmap_mode="r"),
        hidden,
        data.offsets,
        size,
        seconds,
        reused,
        data.kind,
        data.length,
        data.each,
    )


def bytes_needed(config: Any, data: Encoded, wanted: Wanted) -> int:
    """Of the disk, for a teacher of this config."""
    hidden = len(data.ids) * int(config.hidden_size) * len(wanted.hidden) * np.dtype(wanted.dtype).itemsize
    return int(_answers(data) * data.kind.width(config) * FLOAT_BYTES + hidden)


def weights_digest(model: Any) -> str:
    """sha256 of all weights and buffers of a model: a teacher's must be the same before and after."""
    hashed = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        hashed.update(name.encode())
        hashed.update(value.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _key(teacher: Bundle, data: Encoded, wanted: Wanted) -> str:
    content = [teacher.digest, data.digest, list(wanted.hidden), wanted.dtype, 1]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _compute(teacher: Bundle, data: Encoded, wanted: Wanted, folder: Path, say: Callable[[str], None]) -> None:
    started = time.monotonic()
    model = open_with_head(teacher.path)
    before = weights_digest(model)
    _make_room(folder, bytes_needed(model.config, data, wanted))
    say(
        f"teacher's signals for {len(data):,} texts "
        f"({', '.join(['logits', *(f'hidden states {layer}' for layer in wanted.hidden)])})"
    )
    fill(model, data, wanted, folder)
    if model.training or weights_digest(model) != before:
        raise RuntimeError("the teacher changed while it was asked")
    write_durably(
        folder / CARD, json.dumps({"seconds": round(time.monotonic() - started, 1), "teacher": teacher.digest})
    )


def fill(model: Any, data: Encoded, wanted: Wanted, folder: Path) -> None:
    """Let a teacher answer all of `data` and write it into `folder`; the model ends on the CPU.

    Raises:
        UserError: its answers are not finite, or too large for float16.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    new = np.lib.format.open_memmap
    logits = new(folder / "logits.npy", "w+", np.float32, (_answers(data), data.kind.width(model.config)))
    hidden = {
        layer: new(
            folder / f"hidden-{layer}.npy", "w+", np.dtype(wanted.dtype), (len(data.ids), int(model.config.hidden_size))
        )
        for layer in wanted.hidden
    }
    order = np.argsort(data.lengths, kind="stable")
    with torch.inference_mode():
        for start in followed(range(0, len(order), BATCH), "teacher", "batch"):
            rows = order[start : start + BATCH].tolist()
            batch = {name: value.to(device) for name, value in data.batch(rows).items()}
            output = model(**batch, output_hidden_states=bool(hidden))
            if data.kind.per_token:
                _write_tokens(logits, _finite(data.kind.by_token(outputs_of(output)), np.inf), data, rows)
            else:
                logits[data.sequences(rows)] = _finite(outputs_of(output), np.inf)
            for layer, states in hidden.items():
                values = _finite(output.hidden_states[layer], HALF_LIMIT if wanted.dtype == "float16" else np.inf)
                _write_tokens(states, values, data, rows)
    for array in (logits, *hidden.values()):
        array.flush()
    model.cpu()


def _answers(data: Encoded) -> int:
    """How many answers there are: one a sequence, or one a token."""
    return len(data.ids) if data.kind.per_token else len(data.offsets) - 1


def _write_tokens(
    into: Float[ndarray, "tokens width"],
    values: Float[ndarray, "batch tokens width"],
    data: Encoded,
    rows: Sequence[int],
) -> None:
    for place, one in enumerate(data.sequences(rows)):
        start, end = data.offsets[one], data.offsets[one + 1]
        into[start:end] = values[place, : end - start]


def _finite(values: "Tensor", limit: float) -> Float[ndarray, "..."]:
    numbers = values.float().cpu().numpy()
    check_range(float(np.abs(numbers).max()), limit)
    return numbers


def check_range(largest: float, limit: float) -> None:
    """Whether numbers whose largest is `largest` are finite, and below a limit.

    Raises:
        UserError: they are not.
    """
    if not np.isfinite(largest):
        raise UserError(
            "the teacher answers with numbers that are not finite: it is broken, or was trained until it diverged"
        )
    if largest > limit:
        raise UserError(
            f"a hidden state of the teacher is {largest:.3g}, more than float16 holds: set signals_dtype: float32"
        )


def _make_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the teacher's signals need {needed / 1e9:.2f} GB in {folder.parent}, which has {free / 1e9:.2f} GB "
            "free: free some space, set PALMTOP_CACHE to a larger disk, or distil without hidden states"
        )
