"""A real ssh server on this machine, with keys of its own, in namespaces of its own: killing it kills all that it
started, and its disk may be small."""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palmtop.eval.targets._debian import unpacked_at

STARTS_S = 20
SHELL = """set -e
mount -t tmpfs none /run && mkdir /run/sshd
mount --bind {passwd} /etc/passwd
{disk}
exec {sshd} -D -e -f {config} -h {key} -p {port}
"""
CONFIG = """ListenAddress 127.0.0.1
UsePAM no
StrictModes no
PermitRootLogin yes
PidFile none
AuthorizedKeysFile {authorized}
SetEnv XDG_CACHE_HOME={there}
"""


class Server:
    """Where it answers, and what it has.

    Args:
        command: starts it.
        there: the cache folder of whoever logs in.
    """

    def __init__(self, port: int, command: list[str], there: Path, log: Path) -> None:
        self.port, self.there, self.log, self._command = port, there, log, command
        self.start()

    @property
    def label(self) -> str:
        """As `--on` names it."""
        return f"ssh:root@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Switch the machine on, and wait until it answers."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until = time.monotonic() + STARTS_S
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace").strip()
        if self._process.poll() is not None and "mount" in said:
            pytest.skip(f"no namespace of its own for an ssh server here ({said.splitlines()[-1]})")
        raise AssertionError(f"the ssh server didn't start: {said}")

    def kill(self) -> None:
        """Switch the machine off: all in its namespace dies with it. The kernel takes a moment over that; it is waited
        for."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STARTS_S)
        until = time.monotonic() + STARTS_S
        with contextlib.suppress(ConnectionRefusedError):
            while time.monotonic() < until:
                with contextlib.suppress(ConnectionResetError), socket.create_connection(("127.0.0.1", self.port), 1):
                    time.sleep(0.05)


@contextlib.contextmanager
def sshd(folder: Path, monkeypatch: pytest.MonkeyPatch, disk: str | None = None) -> Iterator[Server]:
    """A server, and a home folder with a key that opens it and a known_hosts that knows it.

    Args:
        disk: size of the disk over there, as mount has it; None: this machine's.
    """
    program, libraries = _program()
    home, there = folder / "home", folder / "there"
    (home / ".ssh").mkdir(parents=True)
    there.mkdir()
    for name in (home / ".ssh" / "id_ed25519", folder / "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], check=True)
    port = _free_port()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    passwd = Path("/etc/passwd").read_text(encoding="utf-8")
    (folder / "passwd").write_text(f"{passwd}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n", encoding="utf-8")
    (folder / "config").write_text(
        CONFIG.format(authorized=home / ".ssh" / "id_ed25519.pub", there=there), encoding="utf-8"
    )
    script = SHELL.format(
        passwd=folder / "passwd",
        disk=f"mount -t tmpfs -o size={disk} none {there}" if disk else "",
        sshd=shlex.quote(str(program)),
        config=folder / "config",
        key=folder / "host",
        port=port,
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PALMTOP_SSH_PYTHON", sys.executable)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    command = ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "env", f"LD_LIBRARY_PATH={libraries}"]
    server = Server(port, [*command, "bash", "-c", script], there, folder / "log")
    try:
        yield server
    finally:
        server.kill()


def _program() -> tuple[Path, Path]:
    """The server's program, and the folder with libraries that only it needs."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("an ssh server in a namespace of its own needs root, unshare and ssh-keygen (openssh-client)")
    unpacked = unpacked_at("sshd")
    places = [unpacked / "usr" / "sbin" / "sshd", Path("/usr/sbin/sshd")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        pytest.skip("there is no ssh server here: `palmtop setup tests` unpacks one for the tests")
    libraries = next(iter((unpacked / "usr" / "lib").glob("*-linux-gnu")), Path("/nonexistent"))
    return found, libraries


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
