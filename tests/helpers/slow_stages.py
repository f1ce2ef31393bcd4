"""Stages for what runs them side by side: one that takes its time, one that dies, one that takes times."""

import os
import signal
import time
from pathlib import Path
from typing import Any, ClassVar

from tiny_stages import Made

from palmtop.bundle import Bundle, Format
from palmtop.errors import UserError
from palmtop.stage import Work


class Follows(Made):
    """Follows another, and writes when it was at work."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})

    teacher: str | None = None
    """Another bundle."""
    seconds: float = 0.0
    """It takes."""
    log: Path | None = None
    """Where it writes when it began and ended."""
    meets: Path | None = None
    """A folder where it waits until another one is at work too."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Take its time."""
        began = time.time()
        print(f"{work.out.parent.name} is at it")
        if self.meets is not None:
            (self.meets / work.out.parent.name).touch()
            while len(list(self.meets.iterdir())) < 2:  # itself, and another
                time.sleep(0.05)
        time.sleep(self.seconds)
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(f"{work.out.parent.name} {began} {time.time()}\n")
        return super().run(source, work)


class Clock(Follows):
    """Takes times."""

    def takes_times(self) -> bool:
        """It does."""
        return True


class Dies(Follows):
    """Its process is killed in the middle, as often as is said."""

    deaths: int = 1
    """How often."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Leave half of it, and die; or write all."""
        (work.out / "half").write_text("half")
        tries = work.scratch / "tries"
        before = len(tries.read_text()) if tries.exists() else 0
        tries.write_text("x" * (before + 1))
        if before < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        (work.out / "half").unlink()
        return super().run(source, work)


class Fails(Follows):
    """Fails."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Say why."""
        raise UserError("it can't be done")
