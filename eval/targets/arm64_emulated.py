"""The target arm64_emulated: a .tflite file in LiteRT for 64-bit Arm, whose kernels answer under qemu on this machine.

Answers are those of the real kernels; of time nothing can be said.
"""

import functools
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from palmtop.bundle import Bundle
from palmtop.errors import UserError, did_you_mean
from palmtop.eval.measuring.conditions import precision
from palmtop.eval.targets import _arm64
from palmtop.eval.targets._boards import CORES, board
from palmtop.eval.targets._elsewhere import ElsewhereTarget
from palmtop.eval.targets._host import lacking
from palmtop.eval.targets._wire import RUNNER, ProcessStream, Wire
from palmtop.measurement import Kind
from palmtop.target import Machine

FLOAT_TEXTS = 200
"""Texts of a float file: qemu computes floating point in software, some seconds a text."""
WHOLE = ("dynamic_int8", "static_int8")
"""Precisions whose products are of integers, as their names begin."""


class Target(ElsewhereTarget):
    """One core of Arm's, in qemu's user mode."""

    name: ClassVar[str] = "arm64_emulated"
    address_is: ClassVar[str | None] = "a53, a76 or a710"
    default_address: ClassVar[str | None] = "a76"
    kind: Kind = "emulated"
    untimed: ClassVar[str | None] = "an emulator's clock says nothing of the chip that it stands for"

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        if self.address not in CORES:
            raise UserError(f"{self.name} has no core '{self.address}'; {did_you_mean(self.address or '', CORES)}")
        self._core = CORES[self.address]

    @classmethod
    def needs(cls) -> str | None:
        """The Arm system and qemu, and tokenizers."""
        if lack := lacking(cls.name, {"tokenizers": "tokenizers"}, "tflite"):
            return lack
        return None if _arm64.emulator() else f"the target {cls.name} needs qemu and an Arm system: {_arm64.SETUP}"

    def missing(self) -> str | None:
        """A qemu that knows the core, besides."""
        emulator = _arm64.emulator()
        if emulator is not None and self._core.cpu not in _cores(emulator):
            known = ", ".join(name for name, core in CORES.items() if core.cpu in _cores(emulator))
            return f"qemu {_version(emulator)} knows no {self._core.called}: choose another core ({known})"
        return super().missing()

    def machine(self) -> Machine:
        """The core, and the qemu that plays it."""
        emulator = self._emulator()
        said = super().machine()
        return replace(
            said,
            processor=f"{self._core.called}, emulated",
            cores=1,
            system="Linux aarch64, emulated",
            clocks=None,
            versions=said.versions | {"qemu": _version(emulator)},
        )

    def answers_at_most(self, folder: Path) -> int | None:
        """A sample where products are of floating-point numbers."""
        bundle = Bundle.open(folder)
        whole = all(precision(one).startswith(WHOLE) for one in bundle.parts or (bundle,))
        return None if whole else FLOAT_TEXTS

    def threads_used(self, asked: int) -> int:
        """One: the board has one core."""
        return 1

    def wire(self) -> Wire:
        """A runner under qemu."""
        root = board(_arm64.root_here(), self._core)
        python = root / "usr" / "bin" / _arm64.PYTHON
        command = [str(self._emulator()), "-cpu", self._core.cpu, "-L", str(root), str(python), str(RUNNER)]
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        return Wire(ProcessStream(command, kept | _arm64.environment(str(root))), self.label)

    def brought(self, file: Path) -> str:
        """It is here."""
        return str(file.resolve())

    def _emulator(self) -> Path:
        emulator = _arm64.emulator()
        if emulator is None:
            raise UserError(self.needs() or "")
        return emulator


@functools.cache
def _version(emulator: Path) -> str:
    said = subprocess.run([emulator, "--version"], check=True, capture_output=True, text=True).stdout.split()
    return said[said.index("version") + 1] if "version" in said else "unknown"


@functools.cache
def _cores(emulator: Path) -> frozenset[str]:
    # its exit status is 1, whatever it knows
    said = subprocess.run([emulator, "-cpu", "help"], check=False, capture_output=True, text=True).stdout
    return frozenset(said.split())
