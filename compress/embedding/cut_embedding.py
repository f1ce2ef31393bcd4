"""Keep only the first numbers of a sentence embedding: what Matryoshka training made them good for (Kusupati et al.
2022)."""

import json
import shutil
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.embedding_head import KEY, Head
from palmtop.models.family import family_named
from palmtop.stage import Outline, Stage, Work

CONFIG = "config.json"


class CutEmbedding(Stage):
    """Give the first numbers of each vector, brought to length 1 anew; every export of the result does the same.

    The transformer stays what it is: vectors take less room, no time. How good the first numbers are depends on the
    training: name `widths` in the task's options.
    """

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "none"
    usual_seconds: ClassVar[float] = 1.0

    width: int = Field(ge=1)
    """Numbers that are kept of a vector."""

    def outline(self, source: Outline | None) -> Outline:
        """The source with shorter vectors.

        Raises:
            UserError: it gives none.
        """
        if source is None or source.task is None:
            raise UserError("cut_embedding needs a model that gives vectors: put a 'finetune' step before it")
        if source.width is not None:
            self._check(source.width)
        return replace(source, format="torch")

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Copy the folder, and say the width in its config.json."""
        assert source is not None  # the driver checked `accepts`
        config = json.loads((source.path / CONFIG).read_text(encoding="utf-8"))
        head = Head.of(config[KEY])
        before = head.width or int(config[family_named(config["model_type"]).width])
        self._check(before)
        for name in source.card.files:
            if "/" not in name:  # a training's logs are told of the source
                shutil.copyfile(source.path / name, work.out / name)
        config[KEY] = replace(head, width=self.width).written()
        (work.out / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        work.say(f"vectors of {self.width} numbers, the first of {before}")
        return {"width": self.width, "width_before": before}

    def _check(self, before: int) -> None:
        if self.width >= before:
            raise UserError(f"width is {self.width}, and the source's vectors have {before} numbers: give fewer")
