"""Ours beside litert-torch, onnxruntime, ExecuTorch and the browser runtimes, from one torch bundle, as Markdown
tables.

    python tests/benchmarks/runtimes/side_by_side.py BUNDLE OUT [--rounds 20] [--texts 4500] [--only litert ort
    executorch web]

Size, accuracy on the task's whole evaluation split (texts padded to the shortest of 16, 32, 64, 128 tokens that holds
them), latency of one text at each of these lengths, load time and memory. One thread; every file is opened in a process
(or a page) of its own, and within a round they answer in turns, in a new order each round, so that a busy machine
treats them alike. Numbers are medians; "x" is the median over rounds of (first line of its group / this line). Needs
executorch 1.5.1, npm and Chromium besides palmtop.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from made import LENGTHS, Artefact, everything, npm

from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.eval.targets._chromium import Chromium, Page
from palmtop.eval.targets._pages import Runner as TfjsRunner
from palmtop.eval.targets._web_server import WebServer
from palmtop.eval.targets.browser import Target as Browser
from palmtop.signature import Signature
from palmtop.task import Task

RUNS, WARM_UP = 4, 1
HERE = Path(__file__).parent


class Seat(Protocol):
    """An artefact in its runtime."""

    def open(self, encoding: Encoding) -> tuple[float, float]:
        """(milliseconds, MB) to the first answer."""

    def times(self, encoding: Encoding, length: int, runs: int) -> list[float]:
        """Milliseconds of single answers."""

    def predict(self, encodings: Sequence[Encoding]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """An answer to each."""


class Feeding:
    """How texts become what a runtime is fed with."""

    def __init__(self, signature: Signature) -> None:
        self._inputs, self._pad_id = signature.inputs, signature.pad_id

    def inputs(self, encoding: Encoding, length: int | None = None) -> dict[str, list[int]]:
        """Padded to a length, by default to the shortest that holds the text."""
        length = length or next((one for one in LENGTHS if one >= len(encoding)), LENGTHS[-1])
        batch = pad([encoding], length, self._pad_id)
        return {name: batch[name][0].tolist() for name in self._inputs}


class Process:
    """A host runtime in a process."""

    def __init__(self, artefact: Artefact, feeding: Feeding) -> None:
        files = {length: (str(file.path), file.signature) for length, file in artefact.files.items()}
        self._feeding = feeding
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "host.py"), artefact.kind, json.dumps(files)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def open(self, encoding: Encoding) -> tuple[float, float]:
        said = self._ask({"do": "open", "batch": self._feeding.inputs(encoding, 32)})
        return said["load_ms"], said["memory_mb"]

    def times(self, encoding: Encoding, length: int, runs: int) -> list[float]:
        return list(self._ask({"do": "time", "batch": self._feeding.inputs(encoding, length), "runs": runs}))

    def predict(self, encodings: Sequence[Encoding]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.asarray(
            self._ask({"do": "predict", "batches": [self._feeding.inputs(encoding) for encoding in encodings]}),
            np.float32,
        )

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self._process.wait()}")
        return json.loads(line)


class WebPage:
    """onnxruntime-web or LiteRT.js in a page of a browser of its own."""

    def __init__(self, artefact: Artefact, feeding: Feeding, modules: Path) -> None:
        folders = {file.path.parent for file in artefact.files.values()}
        served = {f"files-{number}": folder for number, folder in enumerate(sorted(folders))}
        self._server = WebServer({"page": HERE, "node_modules": modules, **served})
        names = {folder: name for name, folder in served.items()}
        self._files = {
            length: {"address": f"/{names[file.path.parent]}/{file.path.name}", "signature": file.signature}
            for length, file in artefact.files.items()
        }
        self._kind, self._feeding, self._browser = artefact.kind.removeprefix("web-"), feeding, Chromium()
        self._page: Page = self._browser.open(f"{self._server.address}/page/page.html", "window.palmtop !== undefined")

    def open(self, encoding: Encoding) -> tuple[float, float]:
        before = self._browser.renderer_peaks_kb()
        milliseconds = self._page.ask(
            "open", {"kind": self._kind, "files": self._files, "threads": 1, "batch": self._batch(encoding, 32)}
        )
        after = self._browser.renderer_peaks_kb()
        return float(milliseconds), max(after.get(pid, 0) - peak for pid, peak in before.items()) * 1024 / 1e6

    def times(self, encoding: Encoding, length: int, runs: int) -> list[float]:
        return list(self._page.ask("time", {"batch": self._batch(encoding, length), "runs": runs}))

    def predict(self, encodings: Sequence[Encoding]) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows: list[list[float]] = []
        for start in range(0, len(encodings), 100):
            rows += self._page.ask(
                "predict", {"batches": [self._batch(encoding) for encoding in encodings[start : start + 100]]}
            )
        return np.asarray(rows, np.float32)

    def _batch(self, encoding: Encoding, length: int | None = None) -> dict[str, Any]:
        inputs = self._feeding.inputs(encoding, length)
        return {"inputs": inputs, "length": len(inputs["input_ids"])}


class TfjsPage:
    """Our TensorFlow.js folder in palmtop's own browser target; any length, so none is padded where accuracy is
    taken."""

    def __init__(self, artefact: Artefact, text: tuple[str, ...]) -> None:
        self._folder, self._text = artefact.files[LENGTHS[0]].path, text

    def open(self, encoding: Encoding) -> tuple[float, float]:
        cost = Browser().cost_of_loading(self._folder, self._text)
        opened = Browser().open(self._folder)
        assert isinstance(opened, TfjsRunner)
        self._runner = opened
        return cost

    def times(self, encoding: Encoding, length: int, runs: int) -> list[float]:
        return self._runner.latencies_ms([encoding], length, runs)

    def predict(self, encodings: Sequence[Encoding]) -> np.ndarray[Any, np.dtype[np.float32]]:
        return self._runner.predict(encodings)


def main() -> None:
    """Make, open, time, answer, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--texts", type=int, default=None)
    parser.add_argument("--only", nargs="+", default=("litert", "ort", "executorch", "web"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    bundle = Bundle.open(given.bundle)
    task = Task.of(bundle.path)
    assert task is not None
    split = task.load("evaluation")
    encodings = HostTokenizer(bundle.path, LENGTHS[-1]).encode(split.texts)[: given.texts]
    chosen = [artefact for artefact in everything(bundle, given.out) if artefact.kind.startswith(tuple(given.only))]
    feeding, modules = Feeding(Signature.read(bundle.path)), npm(given.out)
    for group in (
        [one for one in chosen if not one.kind.startswith("web")],
        [one for one in chosen if one.kind.startswith("web")],
    ):
        if group:
            print(
                table(
                    group,
                    [_seat(one, feeding, modules, split.texts[0]) for one in group],
                    encodings,
                    split.labels,
                    given.rounds,
                )
            )


def _seat(artefact: Artefact, feeding: Feeding, modules: Path, text: tuple[str, ...]) -> Seat:
    if artefact.kind == "web-tfjs":
        return TfjsPage(artefact, text)
    return WebPage(artefact, feeding, modules) if artefact.kind.startswith("web") else Process(artefact, feeding)


def table(artefacts: list[Artefact], seats: list[Seat], encodings: list[Encoding], labels: Any, rounds: int) -> str:
    """One Markdown table; the first line is what the others are compared with."""
    costs = [seat.open(encodings[0]) for seat in seats]
    taken = {length: _in_turns(seats, encodings[0], length, rounds) for length in LENGTHS}
    answers = [seat.predict(encodings).argmax(axis=1) for seat in seats]
    heads = " | ".join(f"ms @{length} (x)" for length in LENGTHS)
    lines = [
        f"| file | MB | accuracy | as the first | {heads} | load ms | memory MB |",
        "|---|---:|---:|---:|" + "---:|" * (len(LENGTHS) + 2),
    ]
    for place, artefact in enumerate(artefacts):
        times = [_beside(taken[length], place) for length in LENGTHS]
        accuracy, same = (
            float((answers[place] == labels[: len(encodings)]).mean()),
            float((answers[place] == answers[0]).mean()),
        )
        cells = (
            artefact.name,
            f"{artefact.size_bytes / 1e6:.2f}",
            f"{accuracy:.4f}",
            f"{100 * same:.2f} %",
            *times,
            *(f"{cost:.0f}" for cost in costs[place]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{len(encodings)} texts, {rounds} rounds of {RUNS} runs\n"


def _beside(taken: np.ndarray[Any, np.dtype[np.float64]], place: int) -> str:
    return f"{np.median(taken[:, place]):.2f} ({np.median(taken[:, 0] / taken[:, place]):.2f})"


def _in_turns(seats: list[Seat], encoding: Encoding, length: int, rounds: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Median milliseconds of a few answers [rounds, seats]."""
    taken = np.zeros((rounds, len(seats)))
    for turn in range(rounds):
        for place in random.sample(range(len(seats)), len(seats)):
            taken[turn, place] = np.median(seats[place].times(encoding, length, WARM_UP + RUNS)[WARM_UP:])
    return taken


if __name__ == "__main__":
    main()
