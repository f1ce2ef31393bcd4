"""Quantizing with modules named that stay finer, and files that old runtimes can tell by their operators' versions."""

from pathlib import Path
from typing import Any

import pytest

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export.quantization.kept_modules import kept_anyway
from palmtop.export.tflite_file import old_runtimes
from palmtop.export.tflite_file.layers import layers, read, scope_of
from palmtop.making import make
from palmtop.settings import build
from palmtop.stage import Outline

INT4 = 17
"""In the file's schema."""


@pytest.fixture(scope="module")
def several(random_bert: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A .tflite of two lengths."""
    return _make("to_tflite", {"lengths": [16, 24]}, random_bert, tmp_path_factory.mktemp("several") / "float")


@pytest.fixture(scope="module")
def onnx(random_bert: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same model as ONNX."""
    return _make("to_onnx", {}, random_bert, tmp_path_factory.mktemp("onnx") / "float")


def test_a_fourier_transform_is_made_coarser_by_no_scheme() -> None:
    layers = ["fnet.encoder.layer.0.fourier.self [32, 32]", "fnet.encoder.layer.0.output.dense [32, 64]"]
    assert kept_anyway(layers) == layers[:1]


def test_named_modules_are_kept_in_higher_precision(several: Bundle, tmp_path: Path) -> None:
    words = ("classifier", "layer.0", "bert.encoder.layer.1.output.dense")
    made = _make(
        "quantize", {"scheme": "dynamic_int4", "kept_modules": words, "tolerance": 9}, several, tmp_path / "int4"
    )
    kept = made.card.facts["kept_layers"]
    assert len(kept) == 1 + 6 + 1
    assert made.card.facts["kept_as"] == "dynamic_int8"
    types = {
        layer.name: _type_of(made.path / "model.tflite", layer.scopes[0])
        for layer in layers(several.path / "model.tflite")
    }
    assert {name for name in types if types[name] == INT4} == {
        name for name in types if name not in kept and "embeddings" not in name
    }
    plain = _make(
        "quantize",
        {"scheme": "dynamic_int8", "kept_modules": ["word_embeddings"], "tolerance": 9},
        several,
        tmp_path / "int8",
    )
    assert plain.card.facts["kept_as"] == "float32"
    assert 150 * 32 * 4 in _sizes(plain.path)  # the table of words


def test_a_kept_module_that_no_layer_has_is_refused_with_the_nearest(
    several: Bundle, onnx: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError,
        match=r"kept_modules: no layer that the scheme makes coarser has 'clasifier' in its name; did you mean "
        r"'classifier'\?\n.* has 'layer' in its name",
    ):
        _make("quantize", {"kept_modules": ["clasifier", "layer"]}, several, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    kept = _make("quantize", {"kept_modules": ["layer.0"], "tolerance": 9}, onnx, tmp_path / "onnx").card.facts[
        "kept_layers"
    ]
    assert len(kept) == 6
    kind = stage.find("quantize")
    with pytest.raises(
        UserError, match="auto chooses what is kept, and kept_modules names it: leave one of the two out"
    ):
        build(kind, {"auto": True, "kept_modules": ["classifier"]}, "q")
    with pytest.raises(
        UserError, match=r"kept_modules: the layers of a TensorFlow.js model don't have their modules' names"
    ):
        kind(scheme="per_row_int8", kept_modules=["classifier"]).outline(Outline("tfjs"))


def test_old_runtimes_are_told_by_the_operators_versions(several: Bundle, tmp_path: Path) -> None:
    made = _make("quantize", {"tolerance": 9}, several, tmp_path / "int8")
    versions = {code.builtinCode: code.version for code in read(made.path / "model.tflite").operatorCodes}
    assert (
        versions[9] >= 12 and versions[7] >= 4
    )  # FULLY_CONNECTED, EMBEDDING_LOOKUP: the first that tflite-support 0.4.4 refuses
    assert old_runtimes.refused(read(made.path / "model.tflite")) == "its weights have a scale for each channel"
    half = _make("quantize", {"scheme": "float16", "tolerance": 9}, several, tmp_path / "half")
    assert old_runtimes.refused(read(half.path / "model.tflite")) is None


def _type_of(file: Path, scope: str) -> int:
    """The type of the weights that the operator of this scope reads."""
    model = read(file)
    [found] = {
        graph.tensors[operator.inputs[1]].type
        for graph in model.subgraphs
        for operator in graph.operators
        if scope_of(operator, graph) == scope
    }
    return int(found)


def _sizes(folder: Path) -> set[int]:
    """Bytes of all that is stored."""
    return {len(buffer.data) for buffer in read(folder / "model.tflite").buffers if buffer.data is not None}


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
