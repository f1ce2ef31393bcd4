"""What the parts of a transformer cost in LiteRT on this machine: a table by heads and feed-forward width, measured
once and kept."""

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palmtop.converter_log import captured
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.folders import alone, cache
from palmtop.models.family import family_named
from palmtop.target import host_machine

if TYPE_CHECKING:
    from torch.nn import Module

    from palmtop.compress.pruning.latency_probes import Widths

PACKAGES = ("litert-torch", "ai-edge-litert")
RUNS, WARM_UP = 100, 5


@dataclass(frozen=True)
class Curve:
    """Milliseconds by size, interpolated between measured sizes."""

    sizes: tuple[int, ...]
    milliseconds: tuple[float, ...]

    def at(self, sizes: Sequence[int]) -> Float[ndarray, " sizes"]:
        """Milliseconds at some sizes; never less at a larger one, whatever was measured."""
        return np.asarray(np.interp(np.asarray(sizes, float), self.sizes, np.maximum.accumulate(self.milliseconds)))


@dataclass(frozen=True)
class LatencyTable:
    """Of one text of `length` tokens. In the last layer all but keys and values is computed for one token: a head reads
    no other."""

    length: int
    threads: int
    machine: dict[str, Any]
    attention: Curve
    feed_forward: Curve
    last_attention: Curve
    last_feed_forward: Curve
    ends_ms: float
    """Embeddings and head."""

    def attention_ms(self, heads: Sequence[int], last: bool) -> Float[ndarray, " sizes"]:
        """Attention with its residual and norm."""
        return (self.last_attention if last else self.attention).at(heads)

    def feed_forward_ms(self, neurons: Sequence[int], last: bool) -> Float[ndarray, " sizes"]:
        """The feed-forward part with its residual and norm."""
        return (self.last_feed_forward if last else self.feed_forward).at(neurons)


def check_measurable(family: str) -> None:
    """Raises: UserError: packages are missing, or the family's layers aren't those of the table."""
    from importlib.util import find_spec

    lacking = [name for name in PACKAGES if find_spec(name.replace("-", "_")) is None]
    if lacking:
        raise UserError(
            f"speedup needs {', '.join(lacking)} to measure the latency table: pip install 'palmtop[tflite]', or give "
            "'keep'"
        )
    if family_named(family).extra_parts:
        raise UserError(
            f"speedup: layers of the family '{family}' have more parts than the latency table knows (attention to "
            "positions, bottlenecks): give 'keep' instead, and measure what it made faster"
        )


def latency_table(widths: "Widths", length: int, threads: int, say: Callable[[str], None]) -> LatencyTable:
    """The table for a model of these widths, from the cache if this machine has measured it before."""
    machine, kept = host_machine(PACKAGES).as_dict(), table_file(widths, length, threads)
    with alone(kept, say):
        if not kept.is_file():
            say(f"measuring what heads and feed-forward neurons cost in LiteRT at {length} tokens, {threads} thread(s)")
            write_durably(kept, json.dumps(asdict(_measure(widths, length, threads, machine))))
    found = json.loads(kept.read_text(encoding="utf-8"))
    curves = {
        name: Curve(tuple(value["sizes"]), tuple(value["milliseconds"]))
        for name, value in found.items()
        if name in _CURVES
    }
    return LatencyTable(**(found | curves))


def table_file(widths: "Widths", length: int, threads: int) -> Path:
    """Where the table is kept for this machine and these versions of LiteRT."""
    content = [asdict(widths), length, threads, host_machine(PACKAGES).as_dict(), 1]
    return cache("latency") / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]}.json"


_CURVES = ("attention", "feed_forward", "last_attention", "last_feed_forward")


def _measure(widths: "Widths", length: int, threads: int, machine: dict[str, Any]) -> LatencyTable:
    """All parts are timed in turns, so that a busy minute of the machine falls on all of them alike."""
    import torch

    from palmtop.compress.pruning.latency_probes import Attention, Ends, FeedForward

    heads, neurons = sorted({0, 1, widths.heads}), sorted({0, widths.feed_forward // 16 * 8, widths.feed_forward})
    parts: dict[tuple[str, int], Module] = {("ends", 0): Ends(widths)}
    for prefix, rows in (("", length), ("last_", 1)):
        parts |= {(f"{prefix}attention", count): Attention(widths, count, rows) for count in heads}
        parts |= {(f"{prefix}feed_forward", count): FeedForward(widths, count, rows) for count in neurons}
    with tempfile.TemporaryDirectory() as folder:
        files = []
        with captured(Path(folder) / "log.txt"):
            for number, part in enumerate(parts.values()):
                files.append(Path(folder) / f"{number}.tflite")
                _convert(part.eval(), (torch.zeros(length, widths.hidden), torch.zeros(1, 1, 1, length)), files[-1])
        medians = dict(zip(parts, _medians_ms(files, threads), strict=True))
    curves = {
        name: Curve(*zip(*((size, value) for (part, size), value in medians.items() if part == name), strict=True))
        for name in _CURVES
    }
    return LatencyTable(length, threads, machine, **curves, ends_ms=medians["ends", 0])


def _convert(part: "Module", example: tuple[Any, ...], file: Path) -> None:
    import litert_torch

    file.write_bytes(litert_torch.convert(part, example).model_content())  # as in to_tflite: a full disk is told


def _medians_ms(files: Sequence[Path], threads: int) -> list[float]:
    from ai_edge_litert.interpreter import Interpreter

    interpreters = [Interpreter(model_path=str(file), num_threads=threads) for file in files]
    for interpreter in interpreters:
        interpreter.allocate_tensors()
        for given in interpreter.get_input_details():
            random = np.random.default_rng(0).normal(size=given["shape"])
            interpreter.set_tensor(given["index"], random.astype(given["dtype"]))
        for _ in range(WARM_UP):
            interpreter.invoke()
    taken: list[list[float]] = [[] for _ in files]
    for _ in range(RUNS):
        for interpreter, times in zip(interpreters, taken, strict=True):
            started = time.perf_counter()
            interpreter.invoke()
            times.append((time.perf_counter() - started) * 1e3)
    return [round(float(np.median(times)), 5) for times in taken]
