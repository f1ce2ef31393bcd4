"""A machine reached by ssh: commands, files and running processes over one connection, and what is told where it isn't
to be had."""

import asyncio
import contextlib
import functools
import os
import re
import socket
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

from palmtop.errors import UserError
from palmtop.eval.targets._wire import PATIENCE_S, Done, Stream, There
from palmtop.target import Unreachable

if TYPE_CHECKING:
    import asyncssh

ADDRESS = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
CONNECT_S = 20
"""The longest that greeting and login may take together."""
ALIVE_S = 10
"""So often a machine is asked whether it is still there; after three times without an answer it is gone."""
AT_ONCE = 1 << 16
PASSWORD = "PALMTOP_SSH_PASSWORD"
"""The environment variable with a password, where no key opens the machine."""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Address:
    """user@host:port; what isn't said is ssh's own business: ~/.ssh/config, or this user and port 22."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> "Address":
        """Take an address apart.

        Raises:
            UserError: it is none.
        """
        found = ADDRESS.fullmatch(text)
        if found is None or int(found["port"] or 1) not in range(1, 1 << 16):
            raise UserError(f"'{text}' is no address for ssh: write ssh:USER@HOST, or ssh:USER@HOST:PORT")
        return cls(found["host"].strip("[]"), found["user"], int(found["port"]) if found["port"] else None)

    def __str__(self) -> str:
        """As a person types it after `ssh`."""
        named = f"{self.user}@{self.host}" if self.user else self.host
        return f"-p {self.port} {named}" if self.port else named


class SshLink(There):
    """One connection, opened at once.

    Raises:
        Unreachable: in all ways in which there may be no connection, each with what to do.
    """

    def __init__(self, address: Address, where: str) -> None:
        self._address, self._where = address, where
        with self.telling():
            self._connection = _wait(self._connect(), CONNECT_S * 2)

    @property
    def is_open(self) -> bool:
        """Whether it is still there, as far as is known."""
        return not self._connection.is_closed()

    def run(self, command: str, seconds: float = PATIENCE_S, given: bytes = b"") -> Done:
        """In the user's shell over there."""
        with self.telling():
            ended = _wait(self._run(command, given), seconds)
        if ended.exit_status is None:
            raise self.gone()
        out, err = (
            said if isinstance(said, str) else bytes(said or b"").decode(errors="replace")
            for said in (ended.stdout, ended.stderr)
        )
        return Done(ended.exit_status, out, err)

    def start(self, command: str) -> Stream:
        """In the user's shell over there."""
        with self.telling():
            return _SshStream(self, _wait(self._start(command), CONNECT_S))

    def send(self, file: Path, there: str) -> Done:
        """Through `cat`, whose complaint of a full disk is a plain one, as sftp's isn't."""
        return self.run(f"cat > {quote(there)}", given=file.read_bytes())

    async def _connect(self) -> "asyncssh.SSHClientConnection":
        import asyncssh

        said = {"username": self._address.user, "port": self._address.port, "password": os.environ.get(PASSWORD)}
        return await asyncssh.connect(
            self._address.host,
            connect_timeout=CONNECT_S,
            login_timeout=CONNECT_S,
            keepalive_interval=ALIVE_S,
            **{name: value for name, value in said.items() if value is not None},
        )

    async def _run(self, command: str, given: bytes) -> "asyncssh.SSHCompletedProcess":
        return await self._connection.run(command, input=given, encoding=None)

    async def _start(self, command: str) -> "asyncssh.SSHClientProcess[bytes]":
        return await self._connection.create_process(command, encoding=None)

    @contextlib.contextmanager
    def telling(self) -> Iterator[None]:
        """Turn what goes wrong on the way into a line with what to do.

        Raises:
            Unreachable: in place of all that asyncssh and the system say of a machine that isn't to be had.
        """
        import asyncssh

        try:
            yield
        except asyncssh.HostKeyNotVerifiable:
            raise Unreachable(
                f"{self._where}: its host key isn't the one in your known_hosts, or isn't there yet: run "
                f"`ssh {self._address}` once and look at the key before you take it"
            ) from None
        except asyncssh.PermissionDenied:
            tried = f"the password in {PASSWORD} is wrong" if os.environ.get(PASSWORD) else "none of your keys opens it"
            raise Unreachable(
                f"{self._where}: it doesn't let you in ({tried}): `ssh-copy-id {self._address}` puts your key there, "
                f"or set {PASSWORD}"
            ) from None
        except socket.gaierror:
            raise Unreachable(
                f"{self._where}: no machine is called '{self._address.host}' here: look at the name, or write its "
                "number"
            ) from None
        except ConnectionRefusedError:
            raise Unreachable(
                f"{self._where}: it is there, and no ssh server answers at that port: start sshd on it, or write the "
                "port, ssh:USER@HOST:PORT"
            ) from None
        except TimeoutError:
            raise Unreachable(
                f"{self._where}: no answer in time: see that it is switched on and in this network, and measure again"
            ) from None
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, ConnectionResetError, BrokenPipeError):
            raise self.gone() from None
        except OSError as error:
            raise Unreachable(
                f"{self._where}: there is no way to it ({error.strerror or error}): see that it is switched on and in "
                "this network, and measure again"
            ) from None

    def gone(self) -> Unreachable:
        return Unreachable(
            f"{self._where}: the connection was cut: see that it is switched on and in this network, and measure again"
        )


class _SshStream(Stream):
    """A process over there."""

    def __init__(self, link: SshLink, process: "asyncssh.SSHClientProcess[bytes]") -> None:
        self._link, self._process, self._rest, self._said = link, process, b"", b""
        self._hearing = asyncio.run_coroutine_threadsafe(self._hear(), _loop())

    def send(self, line: bytes) -> None:
        """Into its standard input."""
        with self._link.telling():
            _wait(self._write(line), PATIENCE_S)

    def receive(self, seconds: float) -> bytes:
        """From its standard output."""
        while b"\n" not in self._rest:
            with self._link.telling():
                part = _wait(self._read(seconds), None)
            if part is None:
                raise TimeoutError
            if not part:
                return self._ended()
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def end(self) -> str:
        """Hang up: the runner ends with its standard input."""
        with contextlib.suppress(UserError), self._link.telling():
            _wait(self._close(), CONNECT_S)
        return self._said.decode(errors="replace")

    def _ended(self) -> bytes:
        with self._link.telling():
            _wait(self._process.wait_closed(), CONNECT_S)
        if self._process.exit_status is None:  # it didn't end: the wire did
            raise self._link.gone()
        return self._rest

    async def _read(self, seconds: float) -> bytes | None:
        try:
            return await asyncio.wait_for(self._process.stdout.read(AT_ONCE), seconds)
        except TimeoutError:
            return None

    async def _write(self, line: bytes) -> None:
        self._process.stdin.write(line)
        await self._process.stdin.drain()

    async def _hear(self) -> None:
        """Keep the last that it prints as errors: what nobody reads would hold it."""
        while part := await self._process.stderr.read(AT_ONCE):
            self._said = (self._said + part)[-AT_ONCE:]

    async def _close(self) -> None:
        if not self._process.is_closing():
            self._process.stdin.write_eof()
            self._process.close()
            await self._process.wait_closed()


def _wait(asked: "Coroutine[Any, Any, Answer]", seconds: float | None) -> Answer:
    """What a coroutine returns, run in the thread of all links.

    Raises:
        TimeoutError: it took longer.
    """
    future = asyncio.run_coroutine_threadsafe(asked, _loop())
    try:
        return future.result(seconds)
    finally:
        future.cancel()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """An event loop in a thread of its own, so that links may be used anywhere, in notebooks too."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="palmtop-ssh", daemon=True).start()
    return loop
