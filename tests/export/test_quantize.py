"""Quantizing a .tflite: the grid in the file, what each scheme costs, calibration, and layers kept finer."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from once import MadeOnce
from safetensors.numpy import load_file, save_file
from tiny import sentences
from tiny_bundles import sealed

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.export.quantization import activation_ranges, layer_sensitivity
from palmtop.export.quantization.int8_rows import int8_rows, widened
from palmtop.export.quantization.quantizable import Calibration
from palmtop.export.quantization.tflite import SCHEMES
from palmtop.export.quantization.tflite_calibration import Activation, TfliteCalibration
from palmtop.export.quantization.trials import beside_float
from palmtop.export.tflite_file.layers import layers, read
from palmtop.export.tflite_file.packing import pack, parse, weights_of
from palmtop.making import make
from palmtop.signature import Signature

TEXTS = [(text,) for text, _ in sentences(24, 7)]


@pytest.fixture(scope="module")
def several(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A .tflite of two lengths."""
    return _make("to_tflite", {"lengths": [16, 24]}, teacher, tmp_path_factory.mktemp("several") / "float")


@pytest.fixture(scope="module")
def fragile(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A .tflite whose head has weights so large that the others vanish on its int8 grid; what they are multiplied with
    is always 0."""
    folder = tmp_path_factory.mktemp("fragile")
    shutil.copytree(teacher.path, folder / "torch")
    weights = {name: array.copy() for name, array in load_file(teacher.path / "model.safetensors").items()}
    weights["bert.pooler.dense.weight"][0], weights["bert.pooler.dense.bias"][0] = 0, 0
    weights["classifier.weight"][:, 0] = 1e5
    save_file(weights, folder / "torch" / "model.safetensors", metadata={"format": "pt"})
    (folder / "torch" / "palmtop.json").unlink()
    return _make("to_tflite", {"lengths": [24]}, sealed(folder / "torch", "torch", "finetune"), folder / "float")


@pytest.mark.parametrize(("heavy", "expected"), [(False, 42.2), (True, 34.4)])
def test_our_own_rows_have_the_signal_to_noise_ratio_of_min_max_int8(heavy: bool, expected: float) -> None:
    random = np.random.default_rng(0)
    matrix = (random.standard_t(4, (768, 768)) if heavy else random.standard_normal((768, 768))).astype(np.float32)
    integers, scales = int8_rows(matrix)
    ratio = 20 * np.log10(np.linalg.norm(matrix) / np.linalg.norm(matrix - widened(integers, scales)))
    assert ratio == pytest.approx(
        expected, abs=0.5 if heavy else 0.1
    )  # methods.md 6.10; heavy tails differ from draw to draw


def test_rows_are_symmetric_keep_their_largest_and_bear_zeros() -> None:
    integers, scales = int8_rows(np.array([[1, -2, 0.5], [0, 0, 0]], np.float32))
    assert integers.tolist() == [[64, -127, 32], [0, 0, 0]]
    assert widened(integers, scales)[0, 1] == -2


@pytest.mark.parametrize(
    ("scheme", "typical", "agreement"),
    [
        ("float16", 0.005, 1),
        ("weight_only_int8", 0.05, 0.95),
        ("dynamic_int8", 0.1, 0.9),
        ("dynamic_int8_embedding_int4", 0.4, 0.8),
        ("dynamic_int8_embedding_int4_block32", 0.4, 0.8),
        ("dynamic_int4", 0.8, 0.6),
        ("dynamic_int4_block32", 0.8, 0.6),
        ("static_int8", 0.3, 0.8),
    ],
)  # int4's step is a seventh of a row's largest: in rows of 32 random weights that is 12 % noise a layer
def test_a_scheme_shrinks_the_weights_and_keeps_the_answers(
    several: Bundle, scheme: str, typical: float, agreement: float, tmp_path: Path
) -> None:
    made = _make("quantize", {"scheme": scheme, "tolerance": 9}, several, tmp_path / scheme)
    facts = made.card.facts
    assert (made.format, facts["precision"]) == ("tflite", scheme)
    assert facts["parity_typical"] < typical
    assert facts["parity_agreement"] >= agreement
    assert sum(map(len, _weights(made.path))) == _expected_bytes(several, scheme)  # both lengths read one set
    assert facts["latency_ms"] > 0
    assert facts["latency_conditions"] == "24 tokens, 1 thread, in turns"


def test_the_lengths_of_a_file_share_the_scales_of_its_rows(several: Bundle, tmp_path: Path) -> None:
    from ai_edge_litert.schema_py_generated import Model

    made = _make("quantize", {}, several, tmp_path / "int8")
    model = Model.GetRootAs((made.path / "model.tflite").read_bytes())
    scales: dict[int, list[Any]] = {}
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            if tensor.Type() == 9 and tensor.Quantization().ScaleLength() > 1:  # INT8
                scales.setdefault(tensor.Buffer(), []).append(tensor.Quantization().ScaleAsNumpy())
    assert scales
    assert all(len(found) == 2 and np.shares_memory(*found) for found in scales.values())


def test_packing_a_file_anew_changes_no_table_and_no_weight(several: Bundle, tmp_path: Path) -> None:
    before = parse((several.path / "model.tflite").read_bytes())
    after = parse(pack(parse((several.path / "model.tflite").read_bytes())))
    assert weights_of(before) == weights_of(after)
    for first, second in zip(before.subgraphs, after.subgraphs, strict=True):
        assert [tensor.name for tensor in first.tensors] == [tensor.name for tensor in second.tensors]
        assert [list(operator.inputs) for operator in first.operators] == [
            list(operator.inputs) for operator in second.operators
        ]


def test_a_file_that_is_slower_than_float_is_said_to_be() -> None:
    assert beside_float(2.0, 1.0, "float") == {"latency_ms": 1.0, "latency_ms_float": 2.0, "speedup": 2.0}
    assert "slower" not in beside_float(2.0, 2.05, "float")
    assert beside_float(2.0, 2.5, "float")["slower"] == "slower than float here: 2.50 ms against 2.00 ms"


def test_the_grid_in_the_file_is_symmetric_with_a_scale_for_each_output(
    teacher: Bundle, several: Bundle, tmp_path: Path
) -> None:
    made = _make("quantize", {}, several, tmp_path / "int8")
    weights, found = load_file(teacher.path / "model.safetensors"), read(made.path / "model.tflite")
    tensors = {
        tensor.buffer: tensor for graph in found.subgraphs for tensor in graph.tensors if tensor.type == 9
    }  # INT8
    for name in (
        "classifier.weight",
        "bert.embeddings.word_embeddings.weight",
        "bert.encoder.layer.1.output.dense.weight",
    ):
        expected, scales = int8_rows(weights[name])
        rows = np.abs(weights[name]).max(axis=1) > 0  # what scale a row of zeros has doesn't matter
        tensor = next(
            one
            for one in tensors.values()
            if tuple(one.shape) == expected.shape and np.allclose(one.quantization.scale[rows], scales[rows], rtol=1e-5)
        )
        assert not np.any(tensor.quantization.zeroPoint)
        stored = np.frombuffer(bytes(found.buffers[tensor.buffer].data), np.int8).reshape(expected.shape)
        assert (
            np.abs(stored.astype(int) - expected).max() <= 1 and (stored == expected).mean() > 0.99
        )  # halves round either way


def test_a_layer_is_known_by_its_weights_over_all_lengths(several: Bundle) -> None:
    found = {layer.name: layer for layer in layers(several.path / "model.tflite")}
    assert len(found["model.bert.encoder.1.output.dense 32x64"].scopes) == 2
    assert found["model.bert.embeddings.word_embeddings 150x32"].operator == "EMBEDDING_LOOKUP"
    assert sum(layer.operator == "FULLY_CONNECTED" for layer in found.values()) == 2 * 6 + 2


def test_blocks_that_do_not_divide_a_row_are_told_by_layer(several: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"dynamic_int4_block64: rows of 32 weights \(model\.bert\..*\) don't divide into blocks of 64"
    ):
        _make("quantize", {"scheme": "dynamic_int4_block64"}, several, tmp_path / "made")


def test_a_mask_of_minus_ten_thousand_takes_no_range(fragile: Bundle) -> None:
    found = _calibrated(fragile, "all").ranges
    assert min(limit.low for limit in found.values()) > -1000
    for activation, limit in found.items():
        if (
            activation.softmax
        ):  # a masked score is under every real one of its row by 12 at least, and nothing is left of it
            assert limit.low == pytest.approx(
                min(values.max(axis=-1).min() for values in _values(fragile, activation)) - activation_ranges.MARGIN
            )
    plain = activation_ranges.measure(lambda: _run_all(fragile), None)
    assert min(limit.low for limit in plain.values()) <= -1e4


def test_the_answers_themselves_have_their_whole_range(teacher: Bundle, once: MadeOnce) -> None:
    """A file of probabilities ends in a softmax too, but what that one reads is no score beside a masked one: small
    answers count."""
    made = once("to_tflite", {"lengths": [24], "probabilities": True}, teacher)
    assert not any(activation.softmax for activation in _calibrated(made, "linear").ranges)
    every = _calibrated(made, "all").ranges
    logits = next(
        reversed([activation for activation in every if not activation.softmax and "classifier" in activation.names[0]])
    )
    assert every[logits].low == pytest.approx(min(values.min() for values in _values(made, logits)))


def test_static_ranges_are_those_of_the_quantizers_own_min_max(fragile: Bundle) -> None:
    from ai_edge_quantizer.calibrator import Calibrator
    from ai_edge_quantizer.recipe_manager import RecipeManager
    from ai_edge_quantizer.utils import qsv_utils

    signature, file = Signature.read(fragile.path), fragile.path / "model.tflite"
    encodings = HostTokenizer(fragile.path, 24).encode(TEXTS)
    ours = _calibrated(fragile, "linear").by_tensor()
    recipe = RecipeManager()
    recipe.add_static_config(".*", "FULLY_CONNECTED", 8, 8)
    theirs = Calibrator(str(file), num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    batches = [pad([encoding], 24, signature.pad_id) for encoding in encodings]
    feeds = [{f"args_{place}": batch[name] for place, name in enumerate(signature.inputs)} for batch in batches]
    names = theirs._tfl_interpreter.get_signature_runner("serving_default").get_input_details()
    if "args_0" not in names:
        feeds = [{name: batch[name] for name in signature.inputs} for batch in batches]
    theirs.calibrate({"serving_default": feeds}, recipe)
    known = {name: qsv for name, qsv in theirs.get_model_qsvs().items() if name in ours}
    assert len(known) == len(ours) > 20
    for name, qsv in known.items():
        assert ours[name]["min"] == pytest.approx(float(qsv["min"].min()), abs=1e-5)
        assert ours[name]["max"] == pytest.approx(float(qsv["max"].max()), abs=1e-5)


def test_the_mask_does_not_take_the_range_of_a_fully_static_file(several: Bundle, tmp_path: Path) -> None:
    made = _make(
        "quantize",
        {"scheme": "static_int8", "static_operators": "all", "calibration_texts": 64},
        several,
        tmp_path / "all",
    )
    assert made.card.facts["parity_agreement"] >= 0.9
    assert made.card.facts["activations"] > 60
    assert all(
        one["beyond"] < 3 for one in made.card.facts["saturation_worst"]
    )  # the mask, cut on purpose, is not among them


def test_ranges_percentiles_and_saturation() -> None:
    values = np.linspace(-1, 1, 2001, dtype=np.float32)
    inside = lambda: iter([("a", values), ("b", values * 2)])  # noqa: E731  # a run is a function
    assert activation_ranges.measure(inside, None) == {
        "a": activation_ranges.Range(-1, 1),
        "b": activation_ranges.Range(-2, 2),
    }
    trimmed = activation_ranges.measure(inside, 90)
    assert (trimmed["a"].low, trimmed["a"].high) == (pytest.approx(-0.9, abs=0.005), pytest.approx(0.9, abs=0.005))
    found = activation_ranges.saturations(
        inside, {"a": activation_ranges.Range(-1, 0.5), "b": activation_ranges.Range(-2, 2)}, (), str
    )
    assert found == [activation_ranges.Saturation("a", pytest.approx(0.25, abs=0.001), pytest.approx(0.5 / 1.5))]
    scores = np.array([[3, -1e4], [-2, -1e4]], np.float32)
    assert activation_ranges.measure(lambda: iter([("s", scores)]), None, softmax={"s"}) == {
        "s": activation_ranges.Range(-14, 3)
    }
    assert (
        activation_ranges.saturations(lambda: iter([("s", scores)]), {"s": activation_ranges.Range(-14, 3)}, {"s"}, str)
        == []
    )


def test_auto_keeps_the_fragile_layer_and_no_other(fragile: Bundle, tmp_path: Path) -> None:
    plain = _make("quantize", {"tolerance": 1e9}, fragile, tmp_path / "plain")
    made = _make("quantize", {"auto": True, "max_drop": 0.5, "sample": 16}, fragile, tmp_path / "auto")
    facts = made.card.facts
    assert facts["kept_layers"] == ["model.classifier 3x32"]
    assert facts["drop_points"] <= 0.5 and facts["drop_points_before"] > 10
    assert next(iter(facts["harms"])) == "model.classifier 3x32"
    assert (facts["drop_split"], facts["drop_texts"], facts["drop_metric"], facts["kept_as"]) == (
        "evaluation",
        36,
        "accuracy",
        "float32",
    )
    assert facts["parity_difference"] < 0.3 < plain.card.facts["parity_difference"]


def test_auto_says_when_keeping_everything_is_not_enough() -> None:
    with pytest.raises(
        UserError, match=r"costs 2\.00 points even with every layer kept in higher precision \(3\.00 with none\)"
    ):
        layer_sensitivity.choose(["a", "b"], lambda _: 1.0, lambda kept: 3 - len(kept) / 2, 1.0)


def test_the_fewest_of_the_worst_layers_are_kept() -> None:
    harms = {"a": 1.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": float("nan")}
    found = layer_sensitivity.choose(list(harms), harms.__getitem__, lambda kept: 5.0 - len(kept), 2.0)
    assert (found.kept, found.drop, found.drop_before) == (("e", "b", "c"), 2, 5)
    assert layer_sensitivity.choose(list(harms), harms.__getitem__, lambda _: 0.1, 0.5).kept == ()


def _calibrated(source: Bundle, operators: Any) -> TfliteCalibration:
    encodings = HostTokenizer(source.path, 24).encode(TEXTS)
    return TfliteCalibration(
        source.path / "model.tflite", Signature.read(source.path), Calibration(encodings, encodings, None, operators)
    )


def _run_all(source: Bundle) -> Iterator[tuple[Activation, np.ndarray]]:
    return _calibrated(source, "all").run(HostTokenizer(source.path, 24).encode(TEXTS))


def _values(source: Bundle, wanted: Activation) -> list[np.ndarray]:
    return [values for activation, values in _run_all(source) if activation == wanted]


def _expected_bytes(source: Bundle, scheme: str) -> int:
    """Every matrix once, in the scheme's bits; and the position table's slices, one for each length, which stay
    float32."""
    bits = {"FULLY_CONNECTED": SCHEMES[scheme].linear.bits, "EMBEDDING_LOOKUP": SCHEMES[scheme].embedding.bits}
    sizes = [(int(np.prod(layer.shape)), bits[layer.operator]) for layer in layers(source.path / "model.tflite")]
    return (
        sum(count * bit // 8 for count, bit in sizes if count >= 1000)
        + sum(Signature.read(source.path).lengths or ()) * 32 * 4
    )


def _weights(folder: Path) -> list[bytes]:
    """All that is stored and large enough to be a matrix."""
    model = read(folder / "model.tflite")
    return [bytes(buffer.data) for buffer in model.buffers if buffer.data is not None and len(buffer.data) >= 450]


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
