"""A real adbd on this machine, as phones have it, and an adb server of its own, in a network namespace of this thread:
nobody else can reach them."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palmtop.eval.targets._debian import unpacked_at

SERIAL = "127.0.0.1:5599"
SERVER = "5601"
NEW_NETWORK = 0x40000000
STARTS_S = 30
SAYS = {
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Pocket 3",
    "ro.soc.manufacturer": "Zilog",
    "ro.soc.model": "Z80",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.product.cpu.abi": "arm64-v8a",
}
"""What the phone says of itself: there is no getprop and no dumpsys here, so these are the test's."""


class Phone:
    """adbd, and the adb server that knows it.

    Args:
        disk: size of the disk at folder/phone, as mount has it; None: this machine's.
    """

    def __init__(self, folder: Path, adb: str, disk: str | None) -> None:
        self.folder, self._adb = folder, adb
        self.thermal = folder / "thermal"
        """What its thermal service says."""
        self.thermal.write_text("Thermal Status: 0\n", encoding="utf-8")
        self.programs = _programs(folder, self.thermal)
        (folder / "phone").mkdir()
        unpacked = unpacked_at("adbd") / "usr"
        libraries = unpacked / "lib" / "x86_64-linux-gnu"
        mounting = f"mount -t tmpfs -o size={disk} none {folder / 'phone'} && " if disk else ""
        self._script = (
            f"{mounting}exec {unpacked}/lib64/ld-linux-x86-64.so.2 --library-path {libraries}:{libraries}/android "
            f"{unpacked}/lib/android-sdk/platform-tools/adbd"
        )
        self.start()

    def start(self) -> None:
        """Switch it on, and wait until adb knows it."""
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "-m", "-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", self._script],
                env=os.environ | {"ADBD_PORT": SERIAL.partition(":")[2], "PATH": f"{self.programs}:/usr/bin:/bin"},
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + STARTS_S
        while time.monotonic() < until and self._process.poll() is None:
            subprocess.run([self._adb, "connect", SERIAL], check=False, capture_output=True)
            said = subprocess.run([self._adb, "devices"], check=False, capture_output=True, text=True).stdout
            if f"{SERIAL}\tdevice" in said:
                return
            time.sleep(0.2)
        raise AssertionError(f"adbd didn't start: {(self.folder / 'log').read_text(errors='replace')}")

    def kill(self) -> None:
        """Pull its cable."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(STARTS_S)


@contextlib.contextmanager
def phone(folder: Path, monkeypatch: pytest.MonkeyPatch, disk: str | None = None) -> Iterator[Phone]:
    """A phone that adb knows by `SERIAL`."""
    adb = _checked()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", SERVER)
    monkeypatch.setenv("HOME", str(folder))
    with _own_network():
        started = Phone(folder, adb, disk)
        try:
            yield started
        finally:
            started.kill()
            subprocess.run([adb, "kill-server"], check=False, capture_output=True)


@contextlib.contextmanager
def _own_network() -> Iterator[None]:
    """This thread, and what it starts, in a network of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as before:
        if libc.unshare(NEW_NETWORK):
            pytest.skip(f"no network namespace for adbd here ({os.strerror(ctypes.get_errno())})")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(before.fileno(), NEW_NETWORK) == 0


def _checked() -> str:
    """The adb that adbutils brings."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("an adbd in namespaces of its own needs root, unshare and ip (util-linux, iproute2)")
    if not (unpacked_at("adbd") / "usr" / "lib64").is_dir():
        pytest.skip("there is no adbd here: `palmtop setup tests` unpacks one")
    import adbutils

    return str(adbutils.adb_path())


def _programs(folder: Path, thermal: Path) -> Path:
    """The phone's own getprop and dumpsys."""
    programs = folder / "bin"
    programs.mkdir()
    cases = "\n".join(f"{name}) echo '{said}';;" for name, said in SAYS.items())
    scripts = {"getprop": f'case "$1" in\n{cases}\nesac', "dumpsys": f"cat {thermal}"}
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    return programs
