"""Quantized .tflite files through ai-edge-quantizer: what each scheme does to each layer, and which layers it
spares."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export.quantization.quantizable import Calibration, Quantizable
from palmtop.export.quantization.tflite_calibration import TfliteCalibration
from palmtop.export.tflite_file.layers import OPERATORS, Layer, layers
from palmtop.export.tflite_file.old_runtimes import mark
from palmtop.export.tflite_file.packing import repack
from palmtop.signature import Signature

FILE = "model.tflite"
LINEAR, EMBEDDING = OPERATORS
INT4, INT8, FLOAT16 = 4, 8, 16


@dataclass(frozen=True)
class Weights:
    """How one kind of layer is stored: symmetric, one scale for each output channel (each row), or for each block of a
    row."""

    bits: int
    block: Literal[32, 64, 128] | None = None


@dataclass(frozen=True)
class Scheme:
    """What a scheme's name stands for."""

    computes: Literal["float", "dynamic", "static"]
    """float: weights are widened before use; dynamic: activations are quantized as they come, a row at a time; static:
    with ranges known beforehand."""
    linear: Weights
    embedding: Weights

    @property
    def spared(self) -> Literal["float32", "dynamic_int8"]:
        """What a layer becomes that is kept in higher precision."""
        return (
            "dynamic_int8"
            if self.computes == "static" or INT4 in (self.linear.bits, self.embedding.bits)
            else "float32"
        )


SCHEMES: dict[str, Scheme] = {
    "float16": Scheme("float", Weights(FLOAT16), Weights(FLOAT16)),
    "weight_only_int8": Scheme("float", Weights(INT8), Weights(INT8)),
    "dynamic_int8": Scheme("dynamic", Weights(INT8), Weights(INT8)),
    "dynamic_int8_embedding_int4": Scheme("dynamic", Weights(INT8), Weights(INT4)),
    "dynamic_int8_embedding_int4_block32": Scheme("dynamic", Weights(INT8), Weights(INT4, 32)),
    "dynamic_int4": Scheme("dynamic", Weights(INT4), Weights(INT8)),
    "dynamic_int4_block32": Scheme("dynamic", Weights(INT4, 32), Weights(INT8)),
    "dynamic_int4_block64": Scheme("dynamic", Weights(INT4, 64), Weights(INT8)),
    "dynamic_int4_block128": Scheme("dynamic", Weights(INT4, 128), Weights(INT8)),
    "dynamic_int4_embedding_int4": Scheme("dynamic", Weights(INT4), Weights(INT4)),
    "static_int8": Scheme("static", Weights(INT8), Weights(INT8)),
}


@dataclass(frozen=True)
class TfliteFile(Quantizable):
    """A float .tflite."""

    folder: Path
    scheme: str
    calibration: Calibration | None
    """For a static scheme."""

    @classmethod
    def of(cls, source: Bundle, scheme: str, calibration: Calibration | None) -> Self:
        """The .tflite of a bundle."""
        return cls(source.path, scheme, calibration)

    @property
    def files(self) -> frozenset[str]:
        """Graph and weights are one file."""
        return frozenset({FILE})

    @property
    def kept_as(self) -> str:
        """int8 where the scheme is coarser than that, else float32."""
        return SCHEMES[self.scheme].spared

    def layers(self) -> list[str]:
        """Embeddings and linear layers that the scheme stores more coarsely than `kept_as`."""
        return [name for name, layer in self._layers.items() if not self._as_kept(layer)]

    def write(self, out: Path, kept: Sequence[str]) -> None:
        """Write model.tflite."""
        known = self._calibration
        self._check_blocks()
        write(
            self.folder / FILE,
            out / FILE,
            SCHEMES[self.scheme],
            [self._layers[name] for name in kept],
            known.by_tensor() if known else None,
            known is not None and known.given.operators == "all",
        )

    def facts(self, out: Path) -> dict[str, Any]:
        """Of a static scheme: on what it was calibrated, and which activations leave their ranges on other texts."""
        return self._calibration.facts() if self._calibration else {}

    def _check_blocks(self) -> None:
        scheme = SCHEMES[self.scheme]
        for layer in self._layers.values():
            block = (scheme.linear if layer.operator == LINEAR else scheme.embedding).block
            if block and layer.shape[-1] % block:
                raise UserError(
                    f"{self.scheme}: rows of {layer.shape[-1]} weights ({layer.name}) don't divide into blocks of "
                    f"{block}: take a scheme with smaller blocks, or without"
                )

    def _as_kept(self, layer: Layer) -> bool:
        scheme = SCHEMES[self.scheme]
        weights, static = (
            (scheme.linear, scheme.computes == "static") if layer.operator == LINEAR else (scheme.embedding, False)
        )
        return scheme.spared == "dynamic_int8" and weights.bits == INT8 and not static

    @cached_property
    def _layers(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in layers(self.folder / FILE)}

    @cached_property
    def _calibration(self) -> TfliteCalibration | None:
        given = self.calibration
        return TfliteCalibration(self.folder / FILE, Signature.read(self.folder), given) if given else None


def write(
    source: Path,
    out: Path,
    scheme: Scheme,
    spared: Sequence[Layer] = (),
    ranges: "Mapping[str, Any] | None" = None,
    every_operator: bool = False,
) -> None:
    """Quantize the .tflite `source` into `out`, replacing what is there.

    Args:
        spared: layers kept in the scheme's higher precision.
        ranges: of a static scheme: {"min", "max"} of each activation, by tensor name.
        every_operator: of a static scheme: quantize all operators that can be, not only the linear layers.
    """
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager

    recipe = RecipeManager()
    if every_operator:
        recipe.add_static_config(".*", "*", INT8, INT8)
        recipe.add_quantization_config(".", "OUTPUT", algorithm_key="no_quantize")  # apps read floats
    _add(recipe, "(?s:.)", LINEAR, scheme.computes, scheme.linear)
    _add(recipe, "(?s:.)", EMBEDDING, "dynamic" if scheme.computes == "static" else scheme.computes, scheme.embedding)
    if spared:
        _spare(recipe, spared, scheme)
    made = Quantizer(str(source), recipe.get_quantization_recipe()).quantize(
        dict(ranges) if ranges else None, enable_progress_bar=False, enable_progress_report=False
    )
    out.unlink(missing_ok=True)
    made.export_model(str(out))
    repack(out, mark)


def _add(recipe: Any, pattern: str, operator: str, computes: str, weights: Weights) -> None:
    from ai_edge_quantizer.qtyping import QuantGranularity

    block = QuantGranularity[f"BLOCKWISE_{weights.block}" if weights.block else "CHANNELWISE"]
    if computes == "static":
        recipe.add_static_config(pattern, operator, INT8, weights.bits, block)
    elif computes == "dynamic":
        recipe.add_dynamic_config(pattern, operator, weights.bits, block)
    else:
        recipe.add_weight_only_config(
            pattern,
            operator,
            weights.bits,
            block,
            "float_casting" if weights.bits == FLOAT16 else "min_max_uniform_quantize",
        )


def _spare(recipe: Any, spared: Sequence[Layer], scheme: Scheme) -> None:
    """Rules that come later win."""
    pattern = "^(?:" + "|".join(re.escape(scope) for layer in spared for scope in layer.scopes) + ")$"
    for operator in OPERATORS:
        if scheme.spared == "float32":
            recipe.add_quantization_config(pattern, operator, algorithm_key="no_quantize")
        else:
            _add(recipe, pattern, operator, "dynamic", Weights(INT8))
