"""Quantizing the other formats: ONNX in its own runtime, matrices of a web model; and the formats each scheme is
for."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import sentences
from tiny_bundles import sealed

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.export.graph.edge import any_size_program, copy_app_files, edge_classifier
from palmtop.export.quantization.int8_rows import int8_rows
from palmtop.export.tfjs_model.graph_model import write_graph_model
from palmtop.making import make
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import Outline

TEXTS = [(text,) for text, _ in sentences(24, 7)]


@pytest.fixture(scope="module")
def onnx(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same as ONNX."""
    return _make("to_onnx", {}, teacher, tmp_path_factory.mktemp("onnx") / "float")


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"scheme": "dynamic_int8"}, 0.3),
        ({"scheme": "static_int8"}, 1),
        ({"scheme": "static_int8", "percentile": 99.9}, 1),
    ],
)
def test_onnx_is_quantized_in_its_own_runtime(
    onnx: Bundle, settings: dict[str, Any], difference: float, tmp_path: Path
) -> None:
    made = _make("quantize", settings, onnx, tmp_path / "made")
    assert (made.format, made.card.facts["precision"]) == ("onnx", settings["scheme"])
    assert made.card.facts["parity_difference"] < difference
    assert set(made.card.origin.versions) == {"palmtop", "onnx", "onnxruntime"}
    if settings["scheme"] == "static_int8":
        assert {"saturating_activations", "saturation_worst", "calibration_texts"} <= set(made.card.facts)
        assert made.card.facts["activations"] > 20


def test_onnx_embeddings_have_a_scale_for_each_row(onnx: Bundle, tmp_path: Path) -> None:
    from onnx import load
    from onnx.numpy_helper import to_array

    made = _make("quantize", {}, onnx, tmp_path / "made")
    before, after = (
        {tensor.name: to_array(tensor) for tensor in load(str(bundle.path / "model.onnx")).graph.initializer}
        for bundle in (onnx, made)
    )
    name = next(name for name in before if "word_embeddings" in name)
    expected, scales = int8_rows(before[name])
    assert np.array_equal(after[f"{name}_int8"], expected) and np.array_equal(after[f"{name}_scale"][:, 0], scales)
    assert name not in after


@pytest.mark.slow
def test_web_matrices_are_widened_exactly_when_the_page_opens(teacher: Bundle, tmp_path: Path) -> None:
    wide = _web(teacher, tmp_path / "float")
    made = _make("quantize", {"scheme": "per_row_int8"}, wide, tmp_path / "rows")
    assert made.format == "tfjs" and made.card.facts["parity_difference"] < 0.1
    assert made.card.facts["weight_bytes"] < (wide.path / "group1-shard1of1.bin").stat().st_size / 3
    assert (made.path / "int8_rows.js").is_file()
    encodings = HostTokenizer(wide.path, 24).encode(TEXTS)
    _replace_weights(wide.path, made.path, tmp_path / "replaced")
    browser = target.find("browser")
    with browser.open(made.path) as ours, browser.open(tmp_path / "replaced") as plain:
        assert np.array_equal(ours.predict(encodings), plain.predict(encodings))
        shard = made.path / "group1-shard1of1.bin"
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.raises(UserError, match=r"the weights end within w.*: a shard is cut short"):
            browser.open(made.path)


def test_a_quantized_file_is_of_its_sources_format() -> None:
    kind = stage.find("quantize")
    assert kind().format_of("tflite") == "tflite" and kind().format_of("onnx") == "onnx"
    assert kind(scheme="per_row_int8").outline(Outline("tfjs", "bert", 2, ("a",))).format == "tfjs"
    with pytest.raises(UserError, match="float16 isn't for onnx; for that there is dynamic_int8, static_int8"):
        kind(scheme="float16").outline(Outline("onnx"))
    with pytest.raises(
        UserError, match="per_row_int8 isn't for tflite; for that there is float16, weight_only_int8, dynamic_int8"
    ):
        kind(scheme="per_row_int8").outline(Outline("tflite"))
    with pytest.raises(UserError, match="quantize: percentile: only for scheme static_int8, and this is dynamic_int8"):
        build(kind, {"percentile": 99.9}, "quantize")


def test_static_of_every_operator_is_refused_for_onnx(onnx: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="static_operators 'all' is for tflite: an ONNX file takes texts unpadded"):
        _make("quantize", {"scheme": "static_int8", "static_operators": "all"}, onnx, tmp_path / "made")


def _web(teacher: Bundle, out: Path) -> Bundle:
    """What to_tfjs writes, without its check in a browser."""
    out.mkdir()
    signature = Signature.read(teacher.path)
    program = any_size_program(edge_classifier(teacher, False), signature.inputs, signature.max_length)
    write_graph_model(program, signature.inputs, ("logits",), out, "float32")
    signature.write(out)
    copy_app_files(teacher, out)
    return sealed(out, "tfjs", "to_tfjs", teacher, {"precision": "float32"})


def _replace_weights(wide: Path, rows: Path, out: Path) -> None:
    """The float model with each matrix replaced by the floats that its int8 rows stand for."""
    shutil.copytree(wide, out)
    entries = [
        entry
        for group in json.loads((rows / "model.json").read_text())["weightsManifest"]
        for entry in group["weights"]
    ]
    stored, at, chunks = (rows / "group1-shard1of1.bin").read_bytes(), 0, []
    for entry in entries:
        count = int(np.prod(entry["shape"], dtype=int))
        if "quantization" not in entry:
            chunks.append(stored[at : at + 4 * count])
            at += 4 * count
            continue
        axis = entry["quantization"]["axis"]
        integers = np.frombuffer(stored, np.int8, count, at).reshape(entry["shape"])
        scales = np.frombuffer(stored[at + count : at + count + 4 * entry["shape"][axis]], np.float32)
        chunks.append((integers.astype(np.float32) * (scales[:, None] if axis == 0 else scales)).tobytes())
        at += count + scales.nbytes
    (out / "group1-shard1of1.bin").write_bytes(b"".join(chunks))


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
