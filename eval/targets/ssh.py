"""The target ssh: a .tflite file in LiteRT on another machine, a board for instance, reached by ssh."""

import os
from pathlib import Path
from shlex import quote
from typing import ClassVar

from palmtop.errors import UserError
from palmtop.eval.targets import _arm64
from palmtop.eval.targets._elsewhere import ElsewhereTarget, bring
from palmtop.eval.targets._host import lacking
from palmtop.eval.targets._ssh_link import Address, SshLink
from palmtop.eval.targets._wire import RUNNER, Wire
from palmtop.measurement import Kind

PYTHON = "PALMTOP_SSH_PYTHON"
"""The environment variable with the Python to use there, where python3 isn't the one that has LiteRT."""
IMPORTS = "import numpy, ai_edge_litert.interpreter"
FOLDER = 'echo "${XDG_CACHE_HOME:-$HOME/.cache}/palmtop"'


class Target(ElsewhereTarget):
    """A machine of any architecture whose Python has LiteRT; or 64-bit Arm with Linux, to which all that is needed is
    brought."""

    name: ClassVar[str] = "ssh"
    address_is: ClassVar[str | None] = "USER@HOST"
    kind: Kind = "measured"

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        self._address = Address.read(address or "")
        self._link: SshLink | None = None
        self._python: str | None = None
        self._folder = ""

    @classmethod
    def needs(cls) -> str | None:
        """asyncssh and tokenizers, here."""
        return lacking(cls.name, {"asyncssh": "asyncssh", "tokenizers": "tokenizers"}, "remote")

    def wire(self) -> Wire:
        """A runner over the one connection of this target; a new one where that was cut."""
        there = self._there()
        python = self._python_there(there)
        runner = bring(there, RUNNER, f"{self._folder}/files", self.label)
        return Wire(there.start(f"exec {python} {quote(runner)}"), self.label)

    def brought(self, file: Path) -> str:
        """Into the user's cache folder there."""
        return bring(self._there(), file, f"{self._folder}/files", self.label)

    def _there(self) -> SshLink:
        if self._link is None or not self._link.is_open:
            self._link = SshLink(self._address, self.label)
            self._folder = self._link.run(FOLDER).out.strip()
        return self._link

    def _python_there(self, there: SshLink) -> str:
        """The command of a Python with LiteRT: the machine's, or for 64-bit Arm the one of `palmtop setup arm64`."""
        if self._python is None:
            named = quote(os.environ.get(PYTHON, "python3"))
            tried = there.run(f"{named} -c {quote(IMPORTS)}")
            self._python = named if tried.status == 0 else self._own_python(there, named, tried.last_line())
        return self._python

    def _own_python(self, there: SshLink, named: str, why: str) -> str:
        machine = there.run("uname -sm").out.strip()
        by_hand = f"`{named} -m pip install {_arm64.LITERT}` there, or name a Python that has it with {PYTHON}"
        if machine != "Linux aarch64":
            raise UserError(f"{self.label}: {named} there has no LiteRT ({why}; {machine}): {by_hand}")
        payload = _arm64.payload()
        if payload is None:
            raise UserError(
                f"{self.label}: {named} there has no LiteRT ({why}): `palmtop setup arm64` here makes one that is "
                f"brought there; or {by_hand}"
            )
        return _arm64.unpacked(there, payload, self._folder, self.label)
