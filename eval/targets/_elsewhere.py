"""What targets on other machines share: a .tflite goes there once, is answered and timed there; texts are tokenized
here."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import task_kinds
from palmtop.bundle import sha256_of
from palmtop.data.encoding import Encoding, Text, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.targets._cascade import cost_of_both, opened
from palmtop.eval.targets._host import file_of
from palmtop.eval.targets._wire import Done, There, Wire
from palmtop.signature import Signature
from palmtop.target import Machine, Runner, State, Target, Unreachable

MODEL = "model.tflite"
AT_ONCE = 32
"""Texts in one question: so few that a board answers soon, so many that the way there costs little."""
NOT_THERE = "texts are tokenized on this machine, not there"
"""Why the tokenizer isn't timed."""


class ElsewhereTarget(Target, ABC):
    """LiteRT on another machine."""

    formats: ClassVar[frozenset[str]] = frozenset({"tflite", "tflite_cascade"})

    @abstractmethod
    def wire(self) -> Wire:
        """A runner there, freshly started.

        Raises:
            UserError: it can't be reached, or lacks something.
        """

    @abstractmethod
    def brought(self, file: Path) -> str:
        """Bring a file there, where it isn't yet; its path over there."""

    def missing(self) -> str | None:
        """What `needs` says, and whether a runner answers there."""
        if lack := self.needs():
            return lack
        try:
            self.machine()
        except UserError as error:
            return str(error)
        return None

    def machine(self) -> Machine:
        """What a runner there says of itself."""
        with self.wire() as wire:
            return Machine(**wire.ask("hello"))

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Bring model.tflite there, and load it; both of a cascade, each in a runner of its own."""
        return opened(folder, lambda one: self._open_one(one, threads))

    def _open_one(self, folder: Path, threads: int) -> Runner:
        file, signature = file_of(folder, MODEL), Signature.read(folder)
        wire = self.wire()
        try:
            wire.ask("open", path=self.brought(file), sha256=sha256_of(file), **_how(signature, threads))
        except UserError:
            wire.close()
            raise
        return ElsewhereRunner(wire, HostTokenizer.of(folder, signature), signature, self.look)

    def look(self, wire: Wire) -> State:
        """How the machine is doing: load and temperature."""
        noted: dict[str, Any] = wire.ask("state")
        return State({name: said for name, said in noted.items() if said is not None}, doubt(noted))

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """By a fresh runner's clock; without the tokenizer, which is here. Of a cascade the sum of both."""
        return cost_of_both(folder, lambda one: self._cost_of_one(one, text, threads))

    def _cost_of_one(self, folder: Path, text: Text, threads: int) -> tuple[float, float]:
        signature = Signature.read(folder)
        encoding = HostTokenizer.of(folder, signature).encode([text])[0]
        batch = _batch(signature, encoding, signature.length_for(len(encoding)))
        there = self.brought(file_of(folder, MODEL))
        with self.wire() as wire:
            load_ms, memory_mb = wire.ask("loading", path=there, **_how(signature, threads), batch=batch)
            return load_ms, memory_mb


class ElsewhereRunner(Runner):
    """A runner of which the model is there, and the tokenizer here."""

    def __init__(
        self, wire: Wire, tokenizer: HostTokenizer, signature: Signature, look: Callable[[Wire], State]
    ) -> None:
        self._wire, self._tokenizer, self._signature, self._look = wire, tokenizer, signature, look
        self._kind = task_kinds.by_output(signature.output)

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Here, with the Hugging Face tokenizer."""
        return self._tokenizer.encode(texts)

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        """There, each text at the shortest length the artefact accepts; shortest first."""
        order = np.argsort([len(encoding) for encoding in encodings], kind="stable")
        rows: list[Float32[ndarray, ...]] = []
        for start in range(0, len(order), AT_ONCE):
            chosen = [encodings[index] for index in order[start : start + AT_ONCE]]
            lengths = [self._signature.length_for(len(encoding)) for encoding in chosen]
            batches = [_batch(self._signature, *one) for one in zip(chosen, lengths, strict=True)]
            for said, length in zip(self._wire.ask("answers", batches=batches), lengths, strict=True):
                found = {name: _array(output) for name, output in said.items()}
                rows += list(self._kind.from_runtime(found, 1, length))
        return self._kind.joined([rows[place] for place in np.argsort(order)], encodings)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """By the other side's clock, the way there not counted.

        Raises:
            UserError: the artefact doesn't accept `length` tokens or more.
        """
        asked = [
            _batch(
                self._signature,
                encoding,
                self._signature.length_for(len(encoding)) if length is None else self._signature.accepted(length),
            )
            for encoding in encodings[:runs]
        ]
        times: list[float] = self._wire.ask("times_ms", batches=asked, runs=runs)
        return times

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Refused: the tokenizer isn't there."""
        raise UserError(NOT_THERE)

    def state(self) -> State:
        """How the machine there is doing."""
        return self._look(self._wire)

    def close(self) -> None:
        """End the runner there."""
        self._wire.close()


def doubt(noted: dict[str, Any]) -> str | None:
    """Why what is timed now isn't valid: another program wants the cores, or the chip is at its limit."""
    load, cores = noted.get("load", 0), noted.get("cores", 1)
    if load > cores + 1:  # one of them may be palmtop's
        return f"the machine is busy (load {load} on {cores} cores): end what else runs there, and measure again"
    hottest, limit = noted.get("hottest_c"), noted.get("throttles_at_c")
    if hottest is not None and limit is not None and hottest >= limit:
        return (
            f"the machine is hot ({hottest:.0f} of {limit:.0f} degrees C, where it slows down): let it cool, and "
            "measure again"
        )
    return None


def bring(there: There, file: Path, folder: str, where: str) -> str:
    """Send a file into `folder` over there, under its digest; nothing where it lies there already. Its path.

    It has its name only when it is whole: what a cut wire left is never taken for it.

    Raises:
        UserError: it can't be written, for want of space for instance.
        Unreachable: the machine is gone.
    """
    digest = sha256_of(file)
    path = f"{folder}/{digest[:32]}{file.suffix}"
    if there.run(f"test -f {quote(path)}").status == 0:
        return path
    _check(there.run(f"mkdir -p {quote(folder)}"), file, folder, where)
    partial = f"{path}.partial"
    _check(there.send(file, partial), file, folder, where)
    said = there.run(f"sha256sum {quote(partial)}")
    _check(said, file, folder, where)
    if said.out.split(maxsplit=1)[0] != digest:
        raise Unreachable(f"{where}: {file.name} didn't arrive whole: measure again")
    _check(there.run(f"mv {quote(partial)} {quote(path)}"), file, folder, where)
    return path


def _check(done: Done, file: Path, folder: str, where: str) -> None:
    if done.status == 0:
        return
    if "No space left" in done.err + done.out:
        raise UserError(
            f"{where}: no space left there for {file.name} ({file.stat().st_size / 1e6:.0f} MB): free some; {folder} "
            "there holds what palmtop brought, and may be removed"
        )
    raise UserError(f"{where}: {file.name} can't be written there ({done.last_line()}): mend that, and measure again")


def _how(signature: Signature, threads: int) -> dict[str, Any]:
    return {"inputs": signature.inputs, "lengths": signature.lengths, "threads": threads}


def _batch(signature: Signature, encoding: Encoding, length: int) -> dict[str, list[list[int]]]:
    padded = pad([encoding], length, signature.pad_id)
    return {name: padded[name].tolist() for name in signature.inputs}


def _array(said: dict[str, Any]) -> Float32[ndarray, "..."]:
    return np.frombuffer(base64.b64decode(said["float32"]), "<f4").reshape(said["shape"]).astype(np.float32)
