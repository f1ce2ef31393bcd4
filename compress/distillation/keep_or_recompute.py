"""Whether a teacher's signals are kept on disk or computed anew at each step: by what this disk and this processor take
for it."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from palmtop.bundle import Bundle
from palmtop.compress.distillation.teacher_signals import (
    BATCH,
    HALF_LIMIT,
    TeacherSignals,
    Wanted,
    bytes_needed,
    check_range,
    fill,
    folder_of,
    open_signals,
    signals,
)
from palmtop.compress.learning.encoded import Encoded, take
from palmtop.durably import write_durably
from palmtop.folders import SEAL, cache
from palmtop.models.opening import open_with_head, outputs_of
from palmtop.processes import made_by_first

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Way = Literal["auto", "cache", "recompute"]

CHOICE = "signals-choice.json"
"""In a stage's scratch: what was chosen, for the other processes of a distributed run and for a run that goes on after
a kill."""
WORTH = 1.1
"""What is kept serves later runs too, so it may cost so much more time than computing anew."""
SMALL_BYTES = 100_000_000
"""So much is kept without measuring: whatever it costs, it is seconds, and a measurement of it would be noise."""
TRIALS = 3
"""Each time is the least of so many."""
ROOM = 0.9
"""Share of the free disk that signals may take."""


@dataclass(frozen=True)
class Budget:
    """What may be spent."""

    way: Way
    """auto decides by measuring; the others are orders."""
    limit_gb: float
    """Most that `auto` keeps on disk, in 10^9 bytes."""
    passes: float
    """How often each text is learnt from."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why."""

    way: Literal["cache", "recompute"]
    why: str
    """For the user, with the numbers."""
    needed_bytes: int
    free_bytes: int
    keeping_ms: float | None = None
    """For a batch of texts: the teacher's answer, and writing it; None where nothing had to be measured."""
    reading_ms: float | None = None
    """For the same batch: reading it back."""
    computing_ms: float | None = None
    """For the same batch: the teacher's answer alone."""


class Recomputed:
    """A teacher that is asked at each step; in eval mode, without gradients."""

    def __init__(self, model: "PreTrainedModel", data: Encoded, wanted: Wanted) -> None:
        self._model, self._data, self._wanted = model.eval().requires_grad_(False), data, wanted

    def batch(self, rows: Sequence[int]) -> "dict[str, Tensor]":
        """What `TeacherSignals.batch` gives, on the CPU, where batches are put together."""
        import torch

        if self._model.training:
            raise RuntimeError("the teacher is not in eval mode: its dropout would be learnt")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(device)
        batch = {name: value.to(device) for name, value in self._data.batch(rows).items()}
        with torch.no_grad():
            output = self._model(**batch, output_hidden_states=bool(self._wanted.hidden))
        real = batch["attention_mask"][..., None]
        hidden = {
            f"teacher_hidden_{layer}": self._as_kept(output.hidden_states[layer].float() * real).cpu()
            for layer in self._wanted.hidden
        }
        logits, kind = outputs_of(output).float(), self._data.kind
        if kind.per_token:
            logits = kind.by_token(kind.by_token(logits).masked_fill(real == 0, kind.filler))
        return {"teacher_logits": logits.cpu()} | hidden

    def _as_kept(self, states: "Tensor") -> "Tensor":
        """Rounded as they would be on disk.

        Raises:
            UserError: they don't fit.
        """
        import torch

        if self._wanted.dtype == "float32":
            return states
        check_range(float(states.abs().max()), HALF_LIMIT)
        return states.to(torch.float16).float()


@dataclass(frozen=True)
class Asked:
    """A teacher's signals, wherever they come from."""

    batch: "Callable[[Sequence[int]], dict[str, Tensor]]"
    choice: Choice
    kept: TeacherSignals | None
    """Those on disk; None where they are computed anew."""

    def only(self, hidden: Sequence[int]) -> "Callable[[Sequence[int]], dict[str, Tensor]]":
        """Signals without the hidden states of other layers, which then aren't read."""
        return (
            replace(self.kept, hidden={layer: self.kept.hidden[layer] for layer in hidden}).batch
            if self.kept
            else self.batch
        )

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        measured = {
            name: value for name, value in asdict(self.choice).items() if name.endswith("_ms") and value is not None
        }
        facts: dict[str, Any] = {"signals": self.choice.way, "signals_bytes": self.kept.size_bytes if self.kept else 0}
        if self.kept:
            facts |= {"signals_seconds": self.kept.seconds, "signals_reused": self.kept.reused}
        return (
            facts
            | {"signals_needed_bytes": self.choice.needed_bytes}
            | {f"signals_{name}": value for name, value in measured.items()}
        )


def ask(
    teacher: Bundle, data: Encoded, wanted: Wanted, budget: Budget, scratch: Path, say: Callable[[str], None]
) -> Asked:
    """The teacher's signals for `data`, from disk or from the teacher at each step, and `say` which and why.

    In a distributed run the first process measures and chooses, the others follow.

    Raises:
        UserError: they were ordered to disk, and the disk has no room for them; or the teacher's answers are not
        finite.
    """
    made_by_first(
        scratch / CHOICE,
        lambda: write_durably(scratch / CHOICE, json.dumps(asdict(choose(teacher, data, wanted, budget)))),
    )
    choice = Choice(**json.loads((scratch / CHOICE).read_text(encoding="utf-8")))
    say(f"teacher's signals: {'kept on disk' if choice.way == 'cache' else 'computed anew at each step'}, {choice.why}")
    if choice.way == "recompute":
        return Asked(Recomputed(open_with_head(teacher.path), data, wanted).batch, choice, None)
    kept = signals(teacher, data, wanted, say)
    return Asked(kept.batch, choice, kept)


def choose(teacher: Bundle, data: Encoded, wanted: Wanted, budget: Budget) -> Choice:
    """Whether to keep signals or to compute them at each step.

    Kept if they lie there already, or fit the limit and the disk and are small or cost, over all passes, no more than a
    tenth more time: batches x (keeping + passes x reading) against batches x passes x computing, each measured on a
    batch of texts of middling length.
    """
    model = open_with_head(teacher.path)
    needed, free = bytes_needed(model.config, data, wanted), shutil.disk_usage(cache("teacher")).free
    sizes = f"{_size(needed)} of {_size(free)} free"
    if budget.way != "auto":
        return Choice(budget.way, f"as the settings say ({sizes})", needed, free)
    if (folder_of(teacher, data, wanted) / SEAL).is_file():
        return Choice("cache", f"where they lie since an earlier run ({_size(needed)})", needed, free)
    if needed > min(budget.limit_gb * 1e9, ROOM * free):
        return Choice(
            "recompute", f"for they would take {sizes}, and signals_limit_gb is {budget.limit_gb:g}", needed, free
        )
    if needed <= SMALL_BYTES:
        return Choice("cache", f"for they are small ({sizes})", needed, free)
    return by_time(measured_ms(model, data, wanted, needed), len(data), budget.passes, needed, free)


def by_time(
    measured: tuple[float, float, float], texts: int, passes: float, needed_bytes: int, free_bytes: int
) -> Choice:
    """The choice by a batch's times, which are `measured_ms`'s, over so many passes over so many texts."""
    keeping, reading, computing = measured
    batches, sizes = math.ceil(texts / BATCH), f"{_size(needed_bytes)} of {_size(free_bytes)} free"
    why = (
        f"{sizes}; a batch of {min(BATCH, texts)} texts: {keeping:.3g} ms to compute and keep, {reading:.3g} ms to "
        f"read, {computing:.3g} ms to compute; {passes:g} passes: {batches * (keeping + passes * reading) / 1e3:.3g} "
        f"s kept, {batches * passes * computing / 1e3:.3g} s computed anew"
    )
    way = way_by_time(keeping, reading, computing, passes)
    return Choice(way, why, needed_bytes, free_bytes, *(round(value, 3) for value in measured))


def way_by_time(
    keeping_ms: float, reading_ms: float, computing_ms: float, passes: float
) -> Literal["cache", "recompute"]:
    """The cheaper way by a batch's times, over so many passes."""
    return "cache" if keeping_ms + passes * reading_ms <= WORTH * passes * computing_ms else "recompute"


def measured_ms(model: "PreTrainedModel", data: Encoded, wanted: Wanted, needed: int) -> tuple[float, float, float]:
    """Milliseconds that a batch of texts of middling length takes: to compute and keep, to read back, to compute.

    Read from the disk itself where all signals together are more than half of the free memory (on Linux, which can be
    told to forget a file), else from memory, where they will stay.
    """
    order = np.argsort(data.lengths, kind="stable")
    start = max(0, (len(order) - BATCH) // 2)
    sample = take(data, order[start : start + BATCH].tolist())
    rows = range(len(sample))
    anew = Recomputed(model, sample, wanted)
    computing = _least_ms(lambda: anew.batch(rows))
    with TemporaryDirectory(dir=cache("teacher"), prefix=".trial-") as trial:
        keeping = _least_ms(lambda: fill(model, sample, wanted, Path(trial)))
        forgets = sys.platform == "linux" and needed > _free_memory() / 2
        reading = min(_read_ms(Path(trial), sample, wanted, forgets) for _ in range(TRIALS))
    return keeping, reading, computing


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.3g} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.3g} MB"  # noqa: PLR2004  # 1 GB


def _read_ms(folder: Path, data: Encoded, wanted: Wanted, forgets: bool) -> float:
    if forgets:
        _forget(folder)
    kept = open_signals(folder, data, wanted, 0.0, False)
    return _ms(lambda: kept.batch(range(len(data))))


def _least_ms(work: Callable[[], object]) -> float:
    return min(_ms(work) for _ in range(TRIALS))


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


def _free_memory() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _forget(folder: Path) -> None:
    """Let the system drop a folder's files from memory, so that they are read from the disk."""
    for path in folder.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
