"""The target converted: formats that nothing here runs. Their bytes are counted, and no other number is ever told."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NoReturn

from palmtop import format as file_format
from palmtop import target
from palmtop.data.encoding import Text
from palmtop.measurement import NOT_RUN, Kind
from palmtop.target import Machine, Runner

PACKAGES: Sequence[str] = ()
"""None: files are only looked at."""


class Target(target.Target):
    """No runtime: a row with sizes, and the words 'converted, not run' in every other cell."""

    name: ClassVar[str] = "converted"
    formats: ClassVar[frozenset[str]] = file_format.not_run()
    kind: Kind = NOT_RUN

    def missing(self) -> None:
        """Nothing is needed."""

    def machine(self) -> Machine:
        """This machine, on which the bytes were counted."""
        return target.host_machine(PACKAGES)

    def open(self, folder: Path, threads: int = 1) -> Runner:
        """Nothing opens them."""
        self._refuse()

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """Nothing loads them."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError("a bundle that is converted, not run was to be run: sizes are all that is asked of it")
