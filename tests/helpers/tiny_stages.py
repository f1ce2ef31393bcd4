"""Stages that do next to nothing, for what drives stages."""

from typing import Any, ClassVar

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.stage import Stage, Work


class Made(Stage):
    """Writes a file."""

    accepts: ClassVar[frozenset[Format]] = frozenset()
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "none"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Write it."""
        (work.out / "file").write_text("made")
        return {}
