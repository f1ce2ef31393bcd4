"""Stages that learn and export in no time, for what searches: a model is a file with how able and how wide it is."""

import json
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.effort import Effort
from palmtop.errors import UserError
from palmtop.stage import Outline, Stage, Work

MODEL = "able.json"
FILE = "model.pte"
NAMES = {name: "search_stages" for name in ("begin", "squeeze", "cut_off", "pack")}
"""Modules by stage, as palmtop.stage_files lists them."""


def able(bundle: Bundle) -> dict[str, float]:
    """What a bundle's model is."""
    found: dict[str, float] = json.loads((bundle.path / MODEL).read_text())
    return found


def _write(work: Work, **model: float) -> dict[str, Any]:
    (work.out / MODEL).write_text(json.dumps(model))
    return {}


class Begin(Stage):
    """A teacher."""

    accepts: ClassVar[frozenset[Format]] = frozenset()
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "teaches"

    def outline(self, source: Outline | None) -> Outline:
        """With a head."""
        return Outline("torch", "bert", 4, ("greet", "leave"), 100, task="classification")

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Able and wide."""
        return _write(work, skill=0.9, width=100)


class Squeeze(Stage):
    """A student: the wider and the longer taught, the abler."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "teaches"

    width: int = Field(default=50, ge=1)
    """Of the student."""
    epochs: float = 10
    """It learns for."""
    seed: int = 0

    def outline(self, source: Outline | None) -> Outline:
        """Narrower."""
        assert source is not None
        if self.width > (source.width or 0):
            raise UserError(f"width is {self.width}, and the teacher has {source.width}: give less")
        return replace(source, width=self.width)

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """It trains."""
        return Effort(training=self.epochs)

    def shortened(self, share: float, rows: int) -> Self:
        """For fewer epochs."""
        return self.model_copy(update={"epochs": self.epochs * share})

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Learn."""
        learnt = self.epochs / (self.epochs + 5) if self.learns else 0
        return _write(
            work, skill=round(0.9 * learnt * self.width / (self.width + 10) + self.seed / 1000, 6), width=self.width
        )


class CutOff(Stage):
    """Makes it smaller by what it has learnt."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"

    def unpriced(self) -> str | None:
        """Never."""
        return "how much goes is known when it has learnt: take squeeze"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Never, either."""
        raise NotImplementedError


class Pack(Stage):
    """A file for a device."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "executorch"
    effect: ClassVar[Effect] = "none"

    bits: int = 32
    """Of a number in it."""
    fails_at: int = 0
    """The width that it can't export."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """As many bytes as the model's width and the bits say."""
        assert source is not None
        model = able(source)
        if model["width"] == self.fails_at:
            raise UserError(f"a width of {self.fails_at} can't be packed")
        (work.out / FILE).write_bytes(bytes(int(1000 * model["width"] * self.bits)))
        return _write(work, skill=model["skill"] - (0.02 if self.bits < 32 else 0), width=model["width"])
