"""A target behind a wire: its runners answer in a process that has a copy of the bundle, and speaks JSON lines and
nothing else. Run as a program it is that process."""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.measurement import Kind
from palmtop.target import Machine, Runner, Unreachable


class Target(target.Target):
    """Each format's own runtime in another process, which takes itself for another machine."""

    name: ClassVar[str] = "wired"
    address_is: ClassVar[str | None] = "ROOM"
    formats: ClassVar[frozenset[str]] = frozenset({"linear", "onnx"})
    kind: Kind = "emulated"

    def missing(self) -> None:
        """Nothing is needed."""

    def machine(self) -> Machine:
        """What the other side says of itself."""
        with _Wire() as wire:
            return Machine(**wire.ask("machine", room=self.address))

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Bring the bundle to the other side, and load it there."""
        return WiredRunner(folder, threads)

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """As the other side measures it."""
        with _Wire(folder) as wire:
            load_ms, memory_mb = wire.ask("loading", text=text, threads=threads)
            return load_ms, memory_mb


class WiredRunner(Runner):
    """A runner of which nothing is here but its wire."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._wire = _Wire(folder)
        try:
            self._wire.ask("open", threads=threads)
        except UserError:
            self._wire.close()
            raise

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """There."""
        return [_encoding(said) for said in self._wire.ask("tokenize", texts=texts)]

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        """There."""
        return np.asarray(self._wire.ask("predict", encodings=[_said(one) for one in encodings]), np.float32)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """By the other side's clock."""
        times: list[float] = self._wire.ask(
            "latencies_ms", encodings=[_said(one) for one in encodings], length=length, runs=runs
        )
        return times

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """By the other side's clock."""
        times: list[float] = self._wire.ask("tokenize_latencies_ms", texts=texts, runs=runs)
        return times

    def close(self) -> None:
        """Hang up."""
        self._wire.close()


class _Wire:
    """A process, and a folder of its own with a copy of the bundle."""

    def __init__(self, folder: Path | None = None) -> None:
        self._there = tempfile.TemporaryDirectory()
        if folder is not None:
            shutil.copytree(folder, self._there.name, dirs_exist_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self._there.name,
        )

    def ask(self, question: str, **given: Any) -> Any:
        """The other side's answer; what it refuses is refused here."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"question": question, "given": given}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise Unreachable(f"the other side ended at the question '{question}': look there, and measure again")
        said = json.loads(line)
        if "refused" in said:
            raise UserError(said["refused"])
        return said["answer"]

    def close(self) -> None:
        """End the process, and what it had."""
        self._process.communicate()
        self._there.cleanup()

    def __enter__(self) -> "_Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _OtherSide:
    """What answers: it knows the folder that it stands in, and no other."""

    def __init__(self) -> None:
        self._runner: Runner | None = None

    def answer(self, question: str, given: dict[str, Any]) -> Any:
        """A question's answer, as JSON can hold it."""
        here = Path.cwd()
        if question == "machine":
            machine = target.host_machine(("numpy",))
            return asdict(replace(machine, processor=f"the one in the {given['room']}"))
        runtime = target.for_format(Bundle.open(here).format)
        if question == "loading":
            return _loading(runtime, here, tuple(given["text"]), given["threads"])
        if question == "open":
            self._runner = runtime.open(here, given["threads"])
            return None
        assert self._runner is not None
        return self._ask(self._runner, question, given)

    def _ask(self, runner: Runner, question: str, given: dict[str, Any]) -> Any:
        texts = [tuple(text) for text in given.get("texts", ())]
        encodings = [_encoding(said) for said in given.get("encodings", ())]
        if question == "tokenize":
            return [_said(one) for one in runner.tokenize(texts)]
        if question == "predict":
            return runner.predict(encodings).tolist()
        if question == "latencies_ms":
            return runner.latencies_ms(encodings, given["length"], given["runs"])
        assert question == "tokenize_latencies_ms"
        return runner.tokenize_latencies_ms(texts, given["runs"])


def _loading(runtime: target.Target, here: Path, text: Text, threads: int) -> tuple[float, float]:
    """Of this process, which has loaded nothing before: milliseconds to the first answer, and MB at the highest."""
    started = time.perf_counter()
    with runtime.open(here, threads) as runner:
        runner.predict(runner.tokenize([text]))
        took = (time.perf_counter() - started) * 1000
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _said(encoding: Encoding) -> dict[str, Any]:
    assert encoding.places is None  # of questions, which no test sends over the wire
    ids, types = encoding.input_ids.tolist(), encoding.token_type_ids.tolist()
    return {"text": encoding.text, "ids": ids, "types": types, "truncated": encoding.truncated}


def _encoding(said: dict[str, Any]) -> Encoding:
    ids, types = (np.asarray(said[name], np.int32) for name in ("ids", "types"))
    return Encoding(tuple(said["text"]), ids, types, said["truncated"])


def main() -> None:
    """Answer line by line until the wire is cut."""
    side = _OtherSide()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said: dict[str, Any] = {"answer": side.answer(asked["question"], asked["given"])}
        except UserError as error:
            said = {"refused": error.faults}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
