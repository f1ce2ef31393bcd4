"""Core ML: what is in the package is checked; no number but its size is ever told of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from palmtop import parity, stage, target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.explaining.explain import explain
from palmtop.eval.measure import MeasureOptions, measure
from palmtop.eval.measuring.size import download_bytes, model_bytes
from palmtop.eval.reports.draw_table import render
from palmtop.eval.verify import verify
from palmtop.export import stored_once
from palmtop.making import make
from palmtop.measurement import read

pytest.importorskip("coremltools", reason="coremltools isn't installed: pip install 'palmtop[coreml]'")


@pytest.fixture(scope="module")
def exported(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The teacher as a package of float32, whose weights can be compared."""
    return _make("to_coreml", {"precision": "float32"}, teacher, tmp_path_factory.mktemp("coreml") / "package")


def test_it_takes_and_gives_what_the_signature_says_and_holds_the_models_weights(
    teacher: Bundle, exported: Bundle
) -> None:
    from palmtop.export.coreml_package import features

    assert features(exported.path) == (
        {"input_ids": "int32", "attention_mask": "int32", "token_type_ids": "int32"},
        {"logits": "float32"},
    )
    assert exported.card.facts["run"] == "converted, not run"
    assert {"linear", "layer_norm", "softmax", "gather"} <= set(exported.card.facts["operators"])
    held = [matrix.values for matrix in stored_once.matrices("coreml", exported.path)]
    weights = load_file(teacher.path / "model.safetensors")
    for name in ("classifier.weight", "bert.encoder.layer.1.intermediate.dense.weight"):
        assert any(np.array_equal(weights[name], values) for values in held if values is not None), name


@pytest.mark.slow
def test_float16_is_half_of_it(teacher: Bundle, exported: Bundle, tmp_path: Path) -> None:
    from palmtop.export.coreml_package import features

    half = _make("to_coreml", {"probabilities": True}, teacher, tmp_path / "half")
    assert half.card.facts["stored_matrix_bytes"] * 2 == exported.card.facts["stored_matrix_bytes"]
    assert features(half.path)[1] == {"probabilities": "float16"}


@pytest.mark.slow
def test_measuring_it_tells_its_size_and_no_other_number(teacher: Bundle, exported: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    options = MeasureOptions(on=("host_torch", "converted"), runs=50, length=12)
    measure({"teacher": teacher, "package": exported}, options, tmp_path, said.append)
    taken = [one for one in read(tmp_path / "measurements.jsonl") if one.name == "package"]
    assert {one.kind for one in taken} == {"converted, not run"}
    assert {one.metric for one in taken if one.value is not None} == {"model_bytes", "download_bytes", "gzip_bytes"}
    assert any("package on converted: converted, not run: Core ML runs on Apple's systems" in line for line in said)
    table = compare([tmp_path])
    row = next(row for row in table.sections[0].rows if row.name == "package")
    shown = {name: cell for name, cell in row.cells.items() if cell.value is not None}
    assert set(shown) == {"model_mb", "download_mb", "gzip_mb"}
    assert {cell.word for cell in row.cells.values() if cell.value is None} == {"converted, not run"}
    assert shown["model_mb"].value == model_bytes(exported) / 1e6 < download_bytes(exported) / 1e6
    drawn = render(table, "wide")
    assert f"{model_bytes(exported) / 1e6:.2f} (converted, not run)" in drawn


def test_what_would_run_it_is_refused_by_name(exported: Bundle, teacher: Bundle, tmp_path: Path) -> None:
    for asked in (lambda: target.for_format("coreml"), lambda: parity.answers(("coreml", exported.path), [])):
        with pytest.raises(UserError, match="coreml is converted, not run: Core ML runs on Apple's systems alone"):
            asked()
    with pytest.raises(UserError, match="package is coreml: explain reads"):
        explain(exported)
    options = MeasureOptions(on=("host_torch", "converted"), baseline="package")
    with pytest.raises(UserError, match="the baseline 'package' is coreml, which is converted, not run"):
        measure({"teacher": teacher, "package": exported}, options, tmp_path, print)
    for use in ("quantize", "to_app"):
        assert "coreml" not in stage.find(use).accepts


def test_its_seal_is_verified_and_nothing_else_is_said(exported: Bundle) -> None:
    said: list[str] = []
    verify(exported.path, said.append)
    assert said[-1].startswith("coreml is converted, not run")


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
