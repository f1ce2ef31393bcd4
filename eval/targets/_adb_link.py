"""A phone reached by adb: commands, files and running processes, and what is told where it isn't to be had."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any

from palmtop.eval.targets._wire import PATIENCE_S, Done, Stream, There
from palmtop.target import Unreachable

FOLDER = "/data/local/tmp/palmtop"
"""Where whoever comes by adb may write, and start programs."""
AT_ONCE = 1 << 16
ALLOWED = 0o755
NO_SPACE = "No space left on device"
FREE = 2
"""Place of the free kilobytes among the numbers that df prints: after all there are, and those that are used."""


class AdbLink(There):
    """One phone, by its serial number or host:port.

    Raises:
        Unreachable: it isn't there, or doesn't let this machine in, each with what to do.
    """

    def __init__(self, serial: str, where: str) -> None:
        import adbutils

        self._serial, self._where = serial, where
        self._device: Any = adbutils.AdbClient().device(serial=serial)
        with self.telling():
            state = str(self._device.get_state())
        if state != "device":
            raise Unreachable(f"{where}: the phone says '{state}': wait until it has started, and measure again")

    def run(self, command: str, seconds: float = PATIENCE_S) -> Done:
        """In the phone's shell."""
        with self.telling():
            ended = self._device.shell2(command, timeout=seconds, v2=True)
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def send(self, file: Path, there: str) -> Done:
        """By adb's own way for files, which says nothing of why it failed: that is asked then."""
        from adbutils import AdbError

        try:
            self._device.sync.push(file, there, ALLOWED)
        except (AdbError, OSError) as error:
            if not self.is_there():
                raise self.gone() from None
            return Done(1, "", NO_SPACE if self._free_bytes(there) < file.stat().st_size else str(error))
        return Done(0, "", "")

    def start(self, command: str) -> Stream:
        """With the process's streams as they are, without a terminal between."""
        errors = f"{FOLDER}/{uuid.uuid4().hex}.log"
        with self.telling():
            connection = self._device.open_transport()
            connection.send_command(f"exec:{command} 2>{errors}")
            connection.check_okay()
        return _AdbStream(self, connection, errors)

    def _free_bytes(self, path: str) -> int:
        """On the disk of a path; the partial file that is in the way is removed."""
        self.run(f"rm -f {quote(path)}")
        words = self.run(f"df -k {quote(path.rpartition('/')[0])}").out.split()
        numbers = [int(word) for word in words if word.isdigit()]
        return numbers[FREE] * 1024 if len(numbers) > FREE else 0

    def is_there(self) -> bool:
        """Whether the phone still answers."""
        from adbutils import AdbError

        try:
            return bool(self._device.get_state() == "device")
        except AdbError:
            return False

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what goes wrong on the way into a line with what to do.

        Raises:
            Unreachable: in place of all that adb says of a phone that isn't to be had.
        """
        from adbutils import AdbError, AdbTimeout

        try:
            yield
        except AdbTimeout:
            raise Unreachable(f"{self._where}: no answer in time: look at the phone, and measure again") from None
        except (AdbError, OSError, EOFError) as error:
            raise Unreachable(f"{self._where}: {_told(self._serial, str(error))}") from None

    def gone(self) -> Unreachable:
        """What to tell of a phone that was there a moment ago."""
        return Unreachable(
            f"{self._where}: the phone went away: look at its cable and whether it is on, and measure again"
        )


class _AdbStream(Stream):
    """A process on the phone."""

    def __init__(self, link: AdbLink, connection: Any, errors: str) -> None:
        self._link, self._connection, self._errors, self._rest = link, connection, errors, b""

    def send(self, line: bytes) -> None:
        """Into its standard input."""
        try:
            self._connection.conn.sendall(line)
        except OSError:
            self._check()
            raise BrokenPipeError from None

    def receive(self, seconds: float) -> bytes:
        """From its standard output."""
        self._connection.conn.settimeout(seconds)
        while b"\n" not in self._rest:
            try:
                part = self._connection.conn.recv(AT_ONCE)
            except ConnectionError:
                part = b""
            if not part:
                self._check()
                return self._rest
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def end(self) -> str:
        """Hang up: the runner ends with its standard input."""
        if self._connection.closed:
            return ""
        self._connection.close()
        with contextlib.suppress(Unreachable):
            return self._link.run(f"cat {quote(self._errors)}; rm -f {quote(self._errors)}").out
        return ""

    def _check(self) -> None:
        if not self._link.is_there():
            raise self._link.gone()


def _told(serial: str, said: str) -> str:
    """adb's words, and what to do about them."""
    if "not found" in said or "no devices" in said:
        return (
            f"adb knows no phone '{serial}': plug it in, switch USB debugging on in its developer options, and look "
            "with `adb devices` how it is called"
        )
    if "unauthorized" in said:
        return "the phone doesn't trust this machine yet: unlock it, and allow USB debugging when it asks"
    if "offline" in said:
        return "the phone is offline: unplug it and plug it in again, and measure again"
    if "connect" in said.lower() or "refused" in said:
        return f"adb's server can't be reached ({said}): start it with `adb start-server`"
    return f"adb says '{said}': look at the phone, and measure again"
