"""Quantize an exported file: smaller weights, and on most processors faster products."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop import format as file_format
from palmtop import task_kinds
from palmtop.bundle import Bundle, Format
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.export import check_export
from palmtop.export.quantization.kept_modules import kept_anyway, layers_of
from palmtop.families.family import Kind
from palmtop.stage import Outline, Stage, Work

if TYPE_CHECKING:
    from palmtop.export.quantization.quantizable import Calibration, Quantizable

Scheme = Literal[
    "float16",
    "weight_only_int8",
    "dynamic_int8",
    "dynamic_int8_embedding_int4",
    "dynamic_int8_embedding_int4_block32",
    "dynamic_int4",
    "dynamic_int4_embedding_int4",
    "dynamic_int4_block32",
    "dynamic_int4_block64",
    "dynamic_int4_block128",
    "static_int8",
    "per_row_int8",
]
TOLERANCE: dict[str, float] = {"float16": 0.05, "weight_only_int8": 0.3, "per_row_int8": 0.3, "dynamic_int8": 0.6}
"""Largest difference from the float file, as a share of the outputs' spread: a sound file is off by a tenth of
these."""
COARSE = 2.0
"""The same for the other schemes. A broken file's answers are off by several spreads."""

OTHERS = 64
"""Texts on which calibrated ranges are tried."""


class Quantize(Stage):
    """Quantize a .tflite, an ONNX file or a TensorFlow.js model; embeddings too."""

    accepts: ClassVar[frozenset[Format]] = file_format.quantized()
    takes: ClassVar[frozenset[Kind]] = frozenset({"encoder", "decoder"})
    produces: ClassVar[Format | Literal["same"]] = "same"
    effect: ClassVar[Effect] = "rounds"
    usual_seconds: ClassVar[float] = 20
    packages_for: ClassVar[dict[Format, tuple[str, ...]]] = {
        each.name: each.quantizer.packages for each in file_format.every() if each.quantizer
    }
    extra: ClassVar[str] = "all"

    scheme: Scheme = "dynamic_int8"
    """dynamic: int8 or int4 products, activations quantized as they come; static: with ranges from your own texts;
    weight_only and float16: small weights, widened before use; embedding_int4: the embeddings coarser than the rest;
    block32: a scale for every 32 weights of a row, not one for the row; per_row_int8: for TensorFlow.js. ONNX takes
    dynamic_int8 and static_int8."""
    calibration_texts: int = Field(default=256, ge=8)
    """Of a static scheme: how many texts of the training split the ranges come from."""
    percentile: float | None = Field(default=None, gt=50, le=100)
    """Of a static scheme: keep so many per cent of the values in the middle, such as 99.99; by default from the least
    to the greatest."""
    static_operators: Literal["linear", "all"] = "linear"
    """Of a static scheme: linear layers only (as fast on a CPU), or every operator that can be (what an NPU wants)."""
    kept_modules: tuple[str, ...] = ()
    """Modules kept in higher precision (int8 where the scheme has int4 or ranges, else float32), by name or dotted part
    of it, as in quantize_aware's int8_modules: classifier, layer.0, query. Not for TensorFlow.js."""
    auto: bool = False
    """Keep the layers that bear it worst in higher precision until the task's main metric drops by no more than
    max_drop."""
    max_drop: float = Field(default=0.5, ge=0)
    """Of auto: points (hundredths of the metric) that may be lost on the validation split, or the evaluation split
    where there is none."""
    sample: int = Field(default=256, ge=16)
    """Of auto: how many texts rank the layers by harm; the whole split decides."""
    tolerance: float | None = Field(default=None, gt=0)
    """Largest difference from the float file that is let through, as a share of the outputs' spread; by default that of
    the scheme."""

    @model_validator(mode="after")
    def _static_settings(self) -> Self:
        given = [
            name for name in ("calibration_texts", "percentile", "static_operators") if name in self.model_fields_set
        ]
        if given and self.scheme != "static_int8":
            raise ValueError(f"{', '.join(given)}: only for scheme static_int8, and this is {self.scheme}")
        if self.auto and self.kept_modules:
            raise ValueError("auto chooses what is kept, and kept_modules names it: leave one of the two out")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """A file of the source's format.

        Raises:
            UserError: the scheme isn't for that format.
        """
        assert source is not None  # the driver checked `accepts`
        quantizer = _quantizer(source.format)
        if self.scheme not in quantizer.schemes:
            raise UserError(
                f"{self.scheme} isn't for {source.format}; for that there is {', '.join(quantizer.schemes)}"
            )
        if self.scheme == "static_int8" and source.task is not None and task_kinds.find(source.task).writes:
            raise UserError(
                "static_int8 isn't for models that write: ranges are taken of whole texts in one graph, and these have "
                "a cache that fills; take dynamic_int8"
            )
        if self.kept_modules and not quantizer.modules_named:
            called = file_format.find(source.format).called or source.format
            raise UserError(
                f"kept_modules: the layers of a {called} model don't have their modules' names; quantize without"
            )
        return super().outline(source)

    def takes_times(self) -> bool:
        """Of the float file and its own, in turns."""
        return self.learns

    def unpriced(self) -> str | None:
        """What bears it worst is asked of the trained file."""
        if not self.auto:
            return None
        return "auto keeps layers by what rounding does to trained answers: name them with kept_modules"

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Quantize, write, compare with the float file in the format's own runtime, and time both in turns."""
        from palmtop.export.quantization.trials import Trials, copy_beside, speed, write

        assert source is not None  # the driver checked `accepts`
        if source.card.facts.get("precision") != "float32":
            raise UserError(f"{source.name} is {source.card.facts.get('precision')} already: quantize the float32 file")
        file = _quantizable(self, source)
        chosen = Trials(source, file, work.scratch, self.sample).choose(self.max_drop) if self.auto else None
        named = chosen.kept if chosen else layers_of(self.kept_modules, file.layers())
        kept = list(dict.fromkeys((*named, *kept_anyway(file.layers()))))
        copy_beside(source, file, work.out)
        write(file, work.out, kept)
        found = check_export.check(
            (source.format, source.path),
            (source.format, work.out),
            self.tolerance or TOLERANCE.get(self.scheme, COARSE),
            self.learns,
        )
        told = chosen.facts() if chosen else _facts(kept, file)
        timed = speed(source, work.out) if self.learns else {}
        return {"precision": self.scheme} | file.facts(work.out) | found | told | timed


def _facts(kept: Sequence[str], file: "Quantizable") -> dict[str, Any]:
    return {"kept_layers": list(kept), "kept_as": file.kept_as} if kept else {}


def _quantizer(form: Format) -> file_format.Quantizer:
    found = file_format.find(form).quantizer
    assert found is not None  # `accepts` has the formats with a quantizer
    return found


def _quantizable(stage: Quantize, source: Bundle) -> "Quantizable":
    calibration = _calibration(stage, source) if stage.scheme == "static_int8" else None
    kind: Any = file_format.called(_quantizer(source.format).name)
    made: Quantizable = kind.of(source, stage.scheme, calibration)
    return made


def _calibration(stage: Quantize, source: Bundle) -> "Calibration":
    from palmtop.export.quantization.quantizable import Calibration
    from palmtop.export.quantization.trials import encoded

    others, texts = encoded(source, "validation", OTHERS), encoded(source, "train", stage.calibration_texts)
    return Calibration(texts, others, stage.percentile, stage.static_operators)
