"""The target android: a .tflite file in LiteRT on a phone reached by adb, on its processor."""

import re
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, ClassVar

from palmtop.errors import UserError
from palmtop.eval.targets import _arm64
from palmtop.eval.targets import _benchmark_model as delegates
from palmtop.eval.targets._adb_link import FOLDER, AdbLink
from palmtop.eval.targets._benchmark_model import Delegated
from palmtop.eval.targets._elsewhere import MODEL, ElsewhereTarget, bring
from palmtop.eval.targets._host import file_of, lacking
from palmtop.eval.targets._wire import RUNNER, There, Wire
from palmtop.measurement import Kind
from palmtop.signature import Signature
from palmtop.target import Machine, State

ABI = "arm64-v8a"
PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.build.version.release",
    "ro.build.version.sdk",
    "ro.product.cpu.abi",
)
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""What Android calls its thermal statuses, from 0."""
HOT = 2
"""The status from which on Android slows its cores so that one feels it."""
STATUS = re.compile(r"Thermal Status: (\d)")


class Target(ElsewhereTarget):
    """The same runner as everywhere, with a Python of its own: no app and no root is needed, and nothing is installed.
    An app's LiteRT has the same kernels; its tokenizer is another."""

    name: ClassVar[str] = "android"
    address_is: ClassVar[str | None] = "SERIAL"
    kind: Kind = "measured"

    @classmethod
    def needs(cls) -> str | None:
        """adbutils and tokenizers, and the Arm system that is brought to the phone."""
        if lack := lacking(cls.name, {"adbutils": "adbutils", "tokenizers": "tokenizers"}, "remote"):
            return lack
        return None if _arm64.payload() else f"the target {cls.name} needs an Arm system: {_arm64.SETUP}"

    def wire(self) -> Wire:
        """A runner on the phone."""
        there = self._there()
        python = self._python(there)
        runner = bring(there, RUNNER, f"{FOLDER}/files", self.label)
        return Wire(there.start(f"exec {python} {quote(runner)}"), self.label)

    def brought(self, file: Path) -> str:
        """Into a folder that adb may write."""
        return bring(self._there(), file, f"{FOLDER}/files", self.label)

    def machine(self) -> Machine:
        """The phone: model, chip, clocks, Android."""
        said, known = super().machine(), self._properties(self._there())
        chip = f"{known['ro.soc.manufacturer']} {known['ro.soc.model']}".strip()
        phone = f"{known['ro.product.manufacturer']} {known['ro.product.model']}".strip()
        system = f"Android {known['ro.build.version.release']} (API {known['ro.build.version.sdk']})"
        return replace(said, processor=", ".join(filter(None, (phone, chip, said.processor))), system=system)

    def look(self, wire: Wire) -> State:
        """Android's own thermal status, besides load and temperature."""
        state = super().look(wire)
        status = thermal_status(self._there().run("dumpsys thermalservice").out)
        if status is None:
            return state
        hot = f"the phone is hot (thermal status {THERMAL[status]}): let it cool, and measure again"
        return State(state.noted | {"thermal_status": THERMAL[status]}, hot if status >= HOT else state.doubt)

    def delegated(self, folder: Path, name: str, length: int, threads: int = 1) -> Delegated:
        """What the phone's GPU or NPU takes of the .tflite in `folder`, and how fast it is then, by the user's own
        benchmark_model. The tool gives no answers: whether they are right is not known.

        Raises:
            UserError: there is no tool, or the processor did it all; then no time is told.
        """
        delegate, file, signature = delegates.find(name), file_of(folder, MODEL), Signature.read(folder)
        there, program = self._there(), delegates.tool()
        brought = bring(there, program, f"{FOLDER}/files", self.label)
        line = delegates.command(brought, self.brought(file), delegate, signature, length, threads)
        done = there.run(line)
        if done.status:
            raise UserError(f"{self.label}: benchmark_model ended with {done.status} ({done.last_line()})")
        return delegates.read(done.out, delegate)

    def _there(self) -> AdbLink:
        return AdbLink(self.address or "", self.label)

    def _python(self, there: AdbLink) -> str:
        abi, payload = self._properties(there)["ro.product.cpu.abi"], _arm64.payload()
        if abi != ABI:
            raise UserError(f"{self.label}: the phone's programs are {abi or 'of an unknown kind'}, not {ABI}")
        if payload is None:
            raise UserError(self.needs() or "")
        return _arm64.unpacked(there, payload, FOLDER, self.label)

    def _properties(self, there: There) -> dict[str, Any]:
        """What the phone says of itself; nothing is an empty word."""
        said = there.run("; ".join(f"getprop {name}" for name in PROPERTIES)).out.splitlines()
        return dict(zip(PROPERTIES, [*map(str.strip, said), *[""] * len(PROPERTIES)], strict=False))


def thermal_status(said: str) -> int | None:
    """Android's thermal status in what `dumpsys thermalservice` prints, 0 (none) to 6; None where it says none."""
    found = STATUS.search(said)
    return min(int(found[1]), len(THERMAL) - 1) if found else None
