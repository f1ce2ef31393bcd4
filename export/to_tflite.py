"""Write a .tflite through litert-torch, at fixed lengths that share one set of weights."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from palmtop import parity
from palmtop.bundle import Bundle, Format
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage

FILE = "model.tflite"
STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Lengths that 'auto' chooses from."""


class ToTflite(Stage):
    """Convert for LiteRT (TensorFlow Lite); only built-in operators, no Select TF ops."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "tflite"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "litert-torch", "ai-edge-litert")
    extra: ClassVar[str] = "tflite"

    lengths: Literal["auto"] | tuple[int, ...] = "auto"
    """Token counts the file accepts, each a signature of its own over the same weights; auto: one that takes 99.5 % of the
    training texts whole."""
    probabilities: bool = False
    """Put the softmax into the file; without it the file answers logits."""
    tolerance: float = Field(default=1e-3, gt=0)
    """Largest difference from torch that is let through, as a share of the outputs' spread."""

    @field_validator("lengths", mode="before")
    @classmethod
    def _one_is_enough(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _usable_lengths(self) -> Self:
        if isinstance(self.lengths, tuple) and (not self.lengths or min(self.lengths) < 4 or len(set(self.lengths)) < len(self.lengths)):  # noqa: PLR2004  # [CLS], [SEP] and some text
            raise ValueError(f"{list(self.lengths)}: give different token counts of at least 4, such as [32, 128]")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """A file with the source's labels."""
        from palmtop.export.edge import outline_of_export

        return outline_of_export("to_tflite", source, self.produces, self.probabilities)

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Convert, write, and compare with torch in the LiteRT interpreter."""
        from palmtop.export.captured import captured
        from palmtop.export.edge import copy_app_files, edge_classifier

        assert source is not None  # the driver checked `accepts`
        known = Signature.read(source.path)
        lengths = self._settled(source, known.max_length)
        signature = known.model_copy(update={"lengths": lengths, "max_length": lengths[-1],
                                             "output": "probabilities" if self.probabilities else "logits"})
        with captured(out):
            _convert(edge_classifier(source, self.probabilities), signature, out / FILE)
        signature.write(out)
        copy_app_files(source, out)
        found = parity.check(("torch", source.path), ("tflite", out), self.tolerance)
        return {"precision": "float32", "lengths": list(lengths)} | found.facts()

    def _settled(self, source: Bundle, longest: int) -> tuple[int, ...]:
        if self.lengths == "auto":
            from palmtop.export.edge import task_lengths

            needed = float(np.quantile(task_lengths(source), 0.995))
            return (min(longest, next((step for step in STEPS if step >= needed), longest)),)
        if max(self.lengths) > longest:
            raise UserError(f"length {max(self.lengths)} is more than the model takes ({longest} tokens): "
                            "it was trained, or made, for no more")
        return tuple(sorted(self.lengths))


def name_of(lengths: tuple[int, ...], length: int) -> str:
    """The signature of a length in the file."""
    return "serving_default" if len(lengths) == 1 else f"length_{length}"


def _convert(edge: Any, signature: Signature, file: Path) -> None:
    import litert_torch

    from palmtop.export.edge import example

    lengths = signature.lengths or ()
    converter: Any = litert_torch
    for length in lengths:
        converter = converter.signature(name_of(lengths, length), edge, sample_kwargs=example(signature.inputs, 1, length))
    converter.convert().export(str(file))
