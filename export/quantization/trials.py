"""Trying what quantizing does to a source's answers, and writing and timing the file that is chosen."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import parity
from palmtop.bundle import Bundle
from palmtop.converter_log import CONVERSION, captured
from palmtop.data.encoding import Encoding
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.export.file_timing import LENGTH, medians_ms
from palmtop.export.quantization.layer_sensitivity import Choice, choose
from palmtop.export.quantization.quantizable import Quantizable
from palmtop.signature import Signature
from palmtop.task import Split, SplitName, Task

POINT_DIGITS = 6
"""A drop of exactly max_drop isn't to fail by a rounding of binary fractions."""
NOISE = 0.03
"""Share of the time by which two equal files differ here."""


@dataclass(frozen=True)
class Trials:
    """Quantized versions of one file, each written, run in the format's own runtime, and thrown away."""

    source: Bundle
    file: Quantizable
    scratch: Path
    sample: int
    """Texts that rank the layers."""

    def choose(self, max_drop: float) -> "Chosen":
        """The layers to keep finer.

        Raises:
            UserError: keeping all of them isn't enough, or the source has no task.
        """
        return Chosen(choose(self.file.layers(), self._harm, self._drop, max_drop), self)

    @cached_property
    def split_name(self) -> SplitName:
        """The split that decides."""
        return "validation" if _task(self.source).validation else "evaluation"

    @cached_property
    def split(self) -> Split:
        """The texts that decide."""
        return _task(self.source).load(self.split_name)

    @cached_property
    def _encodings(self) -> list[Encoding]:
        return HostTokenizer.of(self.source.path, self.source.signature).encode(self.split.texts)

    @cached_property
    def _float(self) -> Float32[ndarray, "texts ..."]:
        return parity.answers((self.source.format, self.source.path), self._encodings)

    def _drop(self, kept: Sequence[str]) -> float:
        drop = self._metric(self._float) - self._metric(self._answers(kept, self._encodings))
        return round(100 * drop, POINT_DIGITS)

    def _metric(self, outputs: Float32[ndarray, "texts ..."]) -> float:
        task = _task(self.source)
        kind, signature = task.of_kind, self.source.signature
        answers = kind.answers(outputs, self._encodings, signature)
        graded = kind.graded(answers, self.split.labels, self.split.texts, task.label_names)
        return kind.of_outputs(task.main_metric, graded, self.split.labels)

    def _harm(self, layer: str) -> float:
        rows = _spread(len(self._encodings), self.sample)
        found = self._answers(
            [name for name in self.file.layers() if name != layer], [self._encodings[row] for row in rows]
        )
        texts, output = [self._encodings[row].text for row in rows], self.source.signature.output
        return parity.compare(self._float[rows], found, texts, output).typical

    def _answers(self, kept: Sequence[str], encodings: list[Encoding]) -> Float32[ndarray, "texts ..."]:
        trial = self.scratch / "trial"
        shutil.rmtree(trial, ignore_errors=True)
        trial.mkdir(parents=True)
        copy_beside(self.source, self.file, trial)
        write(self.file, trial, kept)
        found = parity.answers((self.source.format, trial), encodings)
        shutil.rmtree(trial)
        return found


@dataclass(frozen=True)
class Chosen:
    """A choice, and on what it was made."""

    choice: Choice
    trials: Trials

    @property
    def kept(self) -> tuple[str, ...]:
        """The layers kept finer."""
        return self.choice.kept

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        trials, task = self.trials, _task(self.trials.source)
        return self.choice.facts() | {
            "kept_as": trials.file.kept_as,
            "drop_metric": task.main_metric,
            "drop_split": trials.split_name,
            "drop_texts": len(trials.split),
            "harm_texts": min(trials.sample, len(trials.split)),
        }


def copy_beside(source: Bundle, file: Quantizable, out: Path) -> None:
    """Copy what lies beside the model: tokenizer, labels, task, signature."""
    for name in source.card.files:
        if name not in file.files:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path / name, out / name)


def write(file: Quantizable, out: Path, kept: Sequence[str]) -> None:
    """Write the quantized model into `out`; what the quantizer says goes into its logs."""
    with captured(out / CONVERSION):
        file.write(out, kept)


def encoded(source: Bundle, split: SplitName, count: int) -> list[Encoding]:
    """Some texts of the source's own task, spread evenly over a split; over the evaluation split where there is none of
    that name."""
    task = _task(source)
    texts = task.load(split if getattr(task, split) is not None else "evaluation").texts
    chosen = [texts[row] for row in _spread(len(texts), count)]
    return HostTokenizer.of(source.path, source.signature).encode(chosen)


def speed(source: Bundle, out: Path) -> dict[str, Any]:
    """Facts: how fast the file is beside the float file it was made of, both timed here in turns."""
    before, after = medians_ms([(source.format, source.path), (source.format, out)])
    signature = Signature.read(out)
    tokens = signature.accepted(min(LENGTH, signature.max_length))
    return beside_float(before, after, source.name) | {"latency_conditions": f"{tokens} tokens, 1 thread, in turns"}


def beside_float(before_ms: float, after_ms: float, name: str) -> dict[str, Any]:
    """Facts of two latencies, and a sentence where the second is the slower one by more than the clock's noise."""
    slower = after_ms > before_ms * (1 + NOISE)
    told = {"slower": f"slower than {name} here: {after_ms:.2f} ms against {before_ms:.2f} ms"} if slower else {}
    return {
        "latency_ms": round(after_ms, 3),
        "latency_ms_float": round(before_ms, 3),
        "speedup": round(before_ms / after_ms, 2),
    } | told


def _task(source: Bundle) -> Task:
    task = source.task
    if task is None:
        raise UserError(
            f"{source.name} has no task (no task.json), whose texts this needs: quantize a file of a fine-tuned model"
        )
    return task


def _spread(rows: int, count: int) -> list[int]:
    return [int(row) for row in np.unique(np.linspace(0, rows - 1, min(count, rows)).round())]
