"""Each shared weight stands in a file once: .tflite at several lengths, TensorFlow.js, ONNX, float and quantized;
copies are found."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from tiny_bundles import adopted

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.export import stored_once
from palmtop.export.quantization.onnx_once import join_equal, split_shared_products
from palmtop.making import make
from palmtop.settings import build

LOOSE = {"tolerance": 9}
"""Random narrow models lose much in int8; what is stored is the question here."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Two layers of one set of weights: as an ALBERT, and in the source's own class, the attention alone, with
    corrections."""
    folder = tmp_path_factory.mktemp("sources")
    source = adopted(folder / "bert", "bert")
    return {
        "albert": _make("share", {}, source, folder / "albert"),
        "own": _make("share", {"what": "attention", "rank": 8}, source, folder / "own"),
    }


EXPECTED = {"albert": {"32x32": 4 + 2, "32x64": 2}, "own": {"32x32": 4 + 1, "32x64": 2 * 2}}
"""Matrices of the layers' sizes: of one set, and the pooler, and ALBERT's mapping; the feed-forward halves are apart in
the second."""


@pytest.fixture(scope="module", params=["albert", "own"])
def tflite(
    request: pytest.FixtureRequest, sources: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Bundle]:
    """Two lengths in one file."""
    folder = tmp_path_factory.mktemp("tflite")
    return request.param, _make("to_tflite", {"lengths": [16, 24]}, sources[request.param], folder / "made")


def test_a_tflite_file_of_several_lengths_stores_each_weight_once(tflite: tuple[str, Bundle], tmp_path: Path) -> None:
    kind, made = tflite
    assert _layer_matrices("tflite", made.path) == EXPECTED[kind]
    quantized = _make("quantize", LOOSE, made, tmp_path / "int8")
    assert _layer_matrices("tflite", quantized.path) == EXPECTED[kind]
    assert quantized.card.facts["stored_matrix_bytes"] < 0.45 * made.card.facts["stored_matrix_bytes"]


@pytest.mark.slow
def test_an_onnx_file_stores_each_weight_once(sources: dict[str, Bundle], tmp_path: Path) -> None:
    made = _make("to_onnx", {}, sources["albert"], tmp_path / "float")
    assert _layer_matrices("onnx", made.path) == EXPECTED["albert"]
    for scheme in ("dynamic_int8", "static_int8"):
        quantized = _make("quantize", {"scheme": scheme, **LOOSE}, made, tmp_path / scheme)
        assert _layer_matrices("onnx", quantized.path) == EXPECTED["albert"]
        kinds = {
            matrix.dtype for matrix in stored_once.matrices("onnx", quantized.path) if sorted(matrix.shape) == [32, 64]
        }
        assert kinds == {"int8"}  # for all uses of a weight, or a float copy would stand beside it


@pytest.mark.slow
def test_a_tensorflowjs_model_stores_each_weight_once(sources: dict[str, Bundle], tmp_path: Path) -> None:
    made = _make("to_tfjs", {}, sources["albert"], tmp_path / "float")
    assert _layer_matrices("tfjs", made.path) == EXPECTED["albert"]
    quantized = _make("quantize", {"scheme": "per_row_int8", **LOOSE}, made, tmp_path / "int8")
    assert _layer_matrices("tfjs", quantized.path) == EXPECTED["albert"]


def test_a_copy_is_found_and_named_transposed_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(16, 24)).astype(np.float32) for _ in range(2))
    for name, second, copies in (("apart", other, 0), ("equal", one.copy(), 1), ("transposed", one.T.copy(), 1)):
        folder = tmp_path / name
        folder.mkdir()
        onnx.save(_model({"first": one, "second": second}), str(folder / "model.onnx"))
        if copies:
            said = r"the onnx file holds 1 matrices more than once \(1536 bytes too many\): first 16x24 = second"
            with pytest.raises(RuntimeError, match=said):
                stored_once.check("onnx", folder)
        else:
            assert stored_once.check("onnx", folder) == {"stored_matrices": 2, "stored_matrix_bytes": 2 * 1536}


def test_small_and_constant_matrices_may_be_equal_by_chance(tmp_path: Path) -> None:
    zeros, few = np.zeros((16, 24), np.float32), np.ones((2, 3), np.float32)
    onnx.save(_model({"a": zeros, "b": zeros.copy(), "c": few, "d": few.copy()}), str(tmp_path / "model.onnx"))
    assert stored_once.check("onnx", tmp_path)["stored_matrices"] == 0
    with pytest.raises(UserError, match="a torch bundle isn't a file of matrices; such are "):
        stored_once.check("torch", tmp_path)


def test_a_duplicated_weight_in_a_tflite_file_is_found(tflite: tuple[str, Bundle], tmp_path: Path) -> None:
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import write_model

    from palmtop.export.tflite_file.layers import read

    model = read(tflite[1].path / "model.tflite")
    [tensor] = [
        tensor
        for tensor in model.subgraphs[0].tensors
        if list(tensor.shape) == [150, 32] or list(tensor.shape) == [151, 32]
    ]
    model.buffers.append(type(model.buffers[0])())
    model.buffers[-1].data = model.buffers[tensor.buffer].data
    tensor.buffer = len(model.buffers) - 1  # the other length still reads the first copy
    shutil.copytree(tflite[1].path, tmp_path / "copied")
    write_model(model, str(tmp_path / "copied" / "model.tflite"))
    with pytest.raises(RuntimeError, match="the tflite file holds 1 matrices more than once"):
        stored_once.check("tflite", tmp_path / "copied")


def test_equal_tensors_are_joined_and_the_model_answers_as_before() -> None:
    one = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    model = _model({"first": one, "second": one.copy(), "third": one.T.copy()})
    given = {"x": np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)}
    before = _run(model, given)
    assert join_equal(model) == 1
    assert len(model.graph.initializer) == 2
    assert np.array_equal(_run(model, given), before)


def test_products_with_a_shared_weight_are_split_before_the_quantizer_turns_it_twice(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=(8, 8)).astype(np.float32), random.normal(size=8).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", [source, "w", "b"], [result], name, transB=1)
        for source, result, name in (("x", "h", "one"), ("h", "y", "two"))
    ]
    model = _graph(nodes, {"w": weight, "b": bias})
    given = {"x": random.normal(size=(3, 8)).astype(np.float32)}
    reference = (given["x"] @ weight.T + bias) @ weight.T + bias
    assert split_shared_products(model) == 2
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add", "MatMul", "Add"]
    assert len(model.graph.initializer) == 2
    assert np.allclose(_run(model, given), reference, atol=1e-4)
    assert split_shared_products(model) == 0


def _layer_matrices(form: Any, folder: Path) -> dict[str, int]:
    """How many matrices of the layers' sizes a file stores, either way round; the same place counts once."""
    places: dict[str, set[Any]] = {"32x32": set(), "32x64": set()}
    for matrix in stored_once.matrices(form, folder):
        size = "x".join(map(str, sorted(matrix.shape)))
        if size in places and matrix.dtype not in ("int32", "int64"):
            places[size].add(matrix.place)
    return {size: len(found) for size, found in places.items()}


def _model(weights: dict[str, Any]) -> Any:
    """y = sum of x W, or of x W^T, over the weights, for x as wide as the first one's rows."""
    names = list(weights)
    width = weights[names[0]].shape[0]
    nodes = [
        helper.make_node("Gemm", ["x", name], [f"y{name}"], name, transB=int(weights[name].shape[0] != width))
        for name in names
    ]
    nodes.append(helper.make_node("Sum", [f"y{name}" for name in names], ["y"]))
    return _graph(nodes, weights)


def _graph(nodes: list[Any], weights: dict[str, Any]) -> Any:
    given, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in ("x", "y"))
    graph = helper.make_graph(
        nodes, "tiny", [given], [result], [numpy_helper.from_array(value, name) for name, value in weights.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _run(model: Any, given: dict[str, Any]) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        ["y"], given
    )[0]


def _make(use: str, settings: dict[str, Any], source: Bundle, out: Path) -> Bundle:
    torch.manual_seed(0)
    return make(use, build(stage.find(use), settings, use), source, out, lambda _: None)
