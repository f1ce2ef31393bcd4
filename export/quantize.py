"""Quantize an exported file: smaller weights, and on most processors faster products."""

import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from palmtop import parity
from palmtop.bundle import Bundle, Format
from palmtop.errors import UserError
from palmtop.stage import Stage

FILE = "model.tflite"

Scheme = Literal["dynamic_int8", "weight_only_int8"]
TOLERANCE: dict[str, float] = {"weight_only_int8": 0.3, "dynamic_int8": 0.6}
"""Largest difference from the float file's torch model, as a share of the outputs' spread: a broken file is off by more than
the spread, a sound one by a tenth of these."""


class Quantize(Stage):
    """Quantize a .tflite with ai-edge-quantizer; embeddings too."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"tflite"})
    produces: ClassVar[Format] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("ai-edge-quantizer", "ai-edge-litert")
    extra: ClassVar[str] = "tflite"

    scheme: Scheme = "dynamic_int8"
    """dynamic_int8: int8 weights, one scale for each output channel, activations quantized as they come; weight_only_int8:
    int8 weights widened before use."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest difference from the float file that is let through, as a share of the outputs' spread; by default that of the scheme."""

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Quantize, write, and compare with the float file in the LiteRT interpreter."""
        from palmtop.export.captured import captured

        assert source is not None  # the driver checked `accepts`
        if source.card.facts.get("precision") != "float32":
            raise UserError(f"{source.name} is {source.card.facts.get('precision')} already: quantize the float32 file")
        with captured(out):
            _quantize(source.path / FILE, self.scheme, out / FILE)
        for path in source.path.iterdir():
            if path.name in source.card.files and path.name != FILE:
                shutil.copyfile(path, out / path.name)
        found = parity.check(("tflite", source.path), ("tflite", out), self.tolerance or TOLERANCE[self.scheme])
        return {"precision": self.scheme} | found.facts()


def _quantize(source: Path, scheme: Scheme, out: Path) -> None:
    from ai_edge_quantizer import quantizer, recipe

    recipes = {"weight_only_int8": recipe.weight_only_wi8_afp32, "dynamic_int8": recipe.dynamic_wi8_afp32}
    worker = quantizer.Quantizer(str(source), recipes[scheme]())
    worker.quantize().export_model(str(out))
