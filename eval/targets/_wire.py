"""A wire to a process that answers on another machine: questions and answers, a line of JSON each."""

import json
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from select import select
from typing import Any, Self

from palmtop.errors import UserError
from palmtop.target import Unreachable

RUNNER = Path(__file__).with_name("_runner_there.py")
"""What answers on the other side."""
PATIENCE_S = 600
"""The longest that one question may take."""
LAST_WORDS = 300
"""Letters of what the other side printed last that a message shows."""


@dataclass(frozen=True)
class Done:
    """A command that has ended on another machine."""

    status: int
    out: str
    err: str

    def last_line(self) -> str:
        """The last that it said, errors before all else."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][-LAST_WORDS:] if lines else f"status {self.status}"


class Stream(ABC):
    """The two ends of a running process: lines in, lines out."""

    @abstractmethod
    def send(self, line: bytes) -> None:
        """Write a whole line.

        Raises:
            Unreachable: the machine is gone.
        """

    @abstractmethod
    def receive(self, seconds: float) -> bytes:
        """The next line, or nothing where the process has ended.

        Raises:
            Unreachable: the machine is gone.
            TimeoutError: nothing came for so long.
        """

    @abstractmethod
    def end(self) -> str:
        """End the process; returns what it printed as errors."""


class There(ABC):
    """Another machine, reached."""

    @abstractmethod
    def run(self, command: str, seconds: float = PATIENCE_S) -> Done:
        """Run a line of its shell until it ends.

        Raises:
            Unreachable: the machine is gone, or doesn't answer.
        """

    @abstractmethod
    def start(self, command: str) -> Stream:
        """Start a line of its shell that goes on."""

    @abstractmethod
    def send(self, file: Path, there: str) -> Done:
        """Write a file to a path over there."""


class Wire:
    """Asks a runner. A context manager: leaving it ends the runner.

    Args:
        where: the target, as messages name it.
    """

    def __init__(self, stream: Stream, where: str) -> None:
        self._stream, self._where = stream, where

    def ask(self, question: str, **given: Any) -> Any:
        """The other side's answer; what it refuses is refused here.

        Raises:
            Unreachable: the wire was cut, or nothing comes any more.
            UserError: the other side refuses.
        """
        try:
            self._stream.send((json.dumps({"question": question, "given": given}) + "\n").encode())
            line = self._stream.receive(PATIENCE_S)
        except BrokenPipeError:
            line = b""
        except TimeoutError:
            self._stream.end()
            raise Unreachable(
                f"{self._where}: no answer within {PATIENCE_S} s: look whether it is still at work, and measure again"
            ) from None
        if not line.endswith(b"\n"):
            said = self._stream.end().strip()[-LAST_WORDS:]
            raise Unreachable(
                f"{self._where}: what answers there ended at the question '{question}'"
                + (f" ({said.splitlines()[-1]})" if said else " (killed, out of memory, or switched off)")
                + ": look there, and measure again"
            )
        found = json.loads(line)
        if "refused" in found:
            raise UserError(f"{self._where}: {found['refused']}")
        return found["answer"]

    def close(self) -> None:
        """End the runner."""
        self._stream.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ProcessStream(Stream):
    """A process on this machine."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # a pipe that nobody reads would fill up, and hold the process
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0, env=environment
        )
        self._rest = b""

    def send(self, line: bytes) -> None:
        """Into its standard input."""
        assert self._process.stdin is not None
        while line:
            line = line[self._process.stdin.write(line) or 0 :]

    def receive(self, seconds: float) -> bytes:
        """From its standard output."""
        assert self._process.stdout is not None
        while b"\n" not in self._rest:
            if not select([self._process.stdout], [], [], seconds)[0]:
                raise TimeoutError
            if not (part := self._process.stdout.read(1 << 16)):
                return self._rest
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def end(self) -> str:
        """Hang up, and wait until it has gone."""
        if self._errors.closed:
            return ""
        self._process.kill()
        self._process.communicate()
        with self._errors as errors:
            errors.seek(0)
            return errors.read().decode(errors="replace")
