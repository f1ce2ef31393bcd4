"""The linter: bytes that add up, weights told by their use, a model that breaks each rule and one that doesn't."""

import json
import math
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny import write_task
from tiny_bundles import MAX_LENGTH, linear_bundle, onnx_bundle, sealed
from tiny_graphs import (
    POSITIONS,
    ROWS,
    WIDTH,
    int8_bundle,
    tfjs_bundle,
    tflite_bundle,
    torch_bundle_without_equal_weights,
)

from palmtop.anatomy import Anatomy, Operator, Stored, Tensor
from palmtop.bundle import Bundle
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.explaining.delegate_rules import RULES
from palmtop.eval.explaining.draw import show
from palmtop.eval.explaining.explain import Explanation, explain, explained
from palmtop.eval.measuring.size import model_bytes
from palmtop.formats import read_onnx, read_safetensors, read_tfjs, read_tflite
from palmtop.signature import Signature

SIGNATURE = Signature(inputs=("input_ids",), max_length=32, pad_id=0)
Shape = tuple[int | None, ...]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("explain")
    task = write_task(folder / "data")
    torch = torch_bundle_without_equal_weights(folder / "torch", task)
    tflite = tflite_bundle(folder / "tflite", torch)
    return {
        "torch": torch,
        "tflite": tflite,
        "int8": int8_bundle(folder / "int8", tflite),
        "onnx": onnx_bundle(folder / "onnx", torch),
        "tfjs": tfjs_bundle(folder / "tfjs", torch),
        "floor": linear_bundle(folder / "floor", task),
    }


@pytest.mark.parametrize("name", ["torch", "tflite", "int8", "onnx", "tfjs"])
def test_the_bytes_by_kind_add_up_to_the_files(name: str, bundles: dict[str, Bundle]) -> None:
    found = explain(bundles[name])
    assert sum(found.kinds.values()) == found.size_bytes == model_bytes(bundles[name])
    assert min(found.kinds.values()) >= 0
    in_weights = sum(weight.size_bytes for weight in found.weights)
    assert in_weights + found.kinds["graph"] + found.kinds["scales"] == found.size_bytes
    assert [weight.size_bytes for weight in found.weights] == sorted(
        (weight.size_bytes for weight in found.weights), reverse=True
    )


@pytest.mark.parametrize("name", ["tflite", "onnx", "tfjs"])
def test_weights_told_by_their_use_are_those_that_torch_names(name: str, bundles: dict[str, Bundle]) -> None:
    by_name, by_use = explain(bundles["torch"]).kinds, explain(bundles[name]).kinds
    for kind in ("attention", "feed-forward", "head", "norms"):
        assert by_use[kind] == by_name[kind], kind
    left_out = (POSITIONS - MAX_LENGTH) * WIDTH * 4 if name == "tflite" else 0  # it has one length
    assert by_use["embeddings"] == by_name["embeddings"] - left_out


def test_weights_behind_the_flatbuffer_are_counted(bundles: dict[str, Bundle]) -> None:
    anatomy = read_tflite.read(bundles["int8"].path)
    outside = [held for held in anatomy.stored.values() if held.outside]
    assert sum(held.size_bytes for held in outside) > anatomy.size_bytes / 4
    table = max(anatomy.users(), key=lambda user: anatomy.stored[user[1].stored or ""].size_bytes)[1]
    assert (table.dtype, table.shape) == ("int8", (ROWS, WIDTH))
    assert explain(bundles["int8"]).kinds["scales"] == anatomy.scale_bytes > 0
    assert not any(held.outside for held in read_tflite.read(bundles["tflite"].path).stored.values())


def test_int8_rows_of_a_page_are_counted_with_their_scales(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    for name in ("model.json", "signature.json"):
        shutil.copyfile(bundles["tfjs"].path / name, tmp_path / name)
    model = json.loads((tmp_path / "model.json").read_text())
    sizes = {"float32": 4, "int32": 4, "bool": 1}
    total = 0
    for entry in model["weightsManifest"][0]["weights"]:
        rows = entry["shape"] == [ROWS, WIDTH]
        if rows:
            entry["quantization"] = {"dtype": "int8_rows", "original_dtype": "float32", "axis": 0}
        total += ROWS * WIDTH + 4 * ROWS if rows else sizes[entry["dtype"]] * math.prod(entry["shape"])
    model["weightsManifest"][0]["paths"] = ["group1-shard1of1.bin"]
    (tmp_path / "model.json").write_text(json.dumps(model))
    (tmp_path / "group1-shard1of1.bin").write_bytes(bytes(total))
    found = explained(read_tfjs.read(tmp_path), "rows", None)
    assert sum(found.kinds.values()) == found.size_bytes == total + (tmp_path / "model.json").stat().st_size
    assert (found.kinds["scales"], found.kinds["graph"]) == (4 * ROWS, (tmp_path / "model.json").stat().st_size)
    assert (found.weights[0].dtype, found.weights[0].size_bytes) == ("int8", ROWS * WIDTH)


def test_operators_have_counts_and_versions(bundles: dict[str, Bundle]) -> None:
    tflite = {name: (version, count) for name, version, count in explain(bundles["tflite"]).operators}
    assert tflite["SOFTMAX"] == (1, 2) and tflite["EMBEDDING_LOOKUP"][1] >= 1  # two layers
    onnx = {name: (version, count) for name, version, count in explain(bundles["onnx"]).operators}
    assert onnx["Softmax"][1] == 2 and (onnx["Softmax"][0] or 0) >= 18
    assert dict((name, count) for name, _, count in explain(bundles["tfjs"]).operators)["Softmax"] == 2
    assert explain(bundles["torch"]).operators == ()


def test_real_files_break_the_rules_they_are_known_to(bundles: dict[str, Bundle]) -> None:
    broken = {
        name: {finding.rule for finding in explain(bundles[name]).findings}
        for name in ("torch", "tflite", "int8", "onnx", "tfjs")
    }
    assert broken["torch"] == set()
    assert {"int8-on-gpu", "channelwise-int8", "outside-buffers"} <= broken["int8"]
    assert not {"int8-on-gpu", "channelwise-int8", "outside-buffers", "dynamic-shape"} & broken["tflite"]
    assert {"dynamic-shape-onnx", "long-positions"} <= broken["onnx"]
    assert "long-positions" in broken["tfjs"] and "many-shards" not in broken["tfjs"]


def test_advice_only_where_the_share_warrants_it() -> None:
    assert _advised(51, 49)[0] == "embeddings 51%: trim the vocabulary or factorize"
    assert _advised(30, 70) == ("float32 weights 100%: quantize; int8 weights take a quarter of that, float16 half",)
    assert _advised(30, 70, "int8") == ()


def test_a_model_without_attention_is_not_advised_to_factorize() -> None:
    assert _advised(51, 49, attends=False)[0] == "embeddings 51%: trim the vocabulary"


def _advised(embeddings: int, rest: int, dtype: str = "float32", attends: bool = True) -> tuple[str, ...]:
    computed: Weights = {"ids": ("int32", (1, 8)), "rows": ("float32", (1, 8, 16)), "out": ("float32", (1, 8, 16))}
    weights: Weights = {"table": (dtype, (embeddings, 16)), "w": (dtype, (rest, 16))}
    operators = [("EMBEDDING_LOOKUP", "ids table", "rows"), ("FULLY_CONNECTED", "rows w", "out")]
    return _judge(
        "tflite", computed, weights, [*operators, *([("BATCH_MATMUL", "out out", "mixed")] if attends else [])]
    ).advice


Weights = dict[str, tuple[str, Shape]]
SCORES: Weights = {
    "q": ("float32", (12, 32, 32)),
    "k": ("float32", (12, 32, 32)),
    "mask": ("float32", (1, 1, 1, 32)),
    "flat": ("float32", (12, 32, 32)),
    "high": ("float32", (1, 12, 32, 32)),
    "out": ("float32", (1, 12, 32, 32)),
}
PRODUCT = ("BATCH_MATMUL", "q k", "flat")
SOFTMAX = ("SOFTMAX", "out", "done")
LINE: Weights = {"x": ("float32", (1, 32)), "y": ("float32", (1, 32)), "z": ("float32", (1, 32))}
ATTENTION = [PRODUCT, ("RESHAPE", "flat", "high"), ("ADD", "high mask", "out"), SOFTMAX]
MASKED = [PRODUCT, ("MUL", "x low", "mask"), *ATTENTION[1:]]
W: Weights = {"w": ("int8", (32, 32))}
LOW: Weights = {"low": ("float32", ())}
TWO: Weights = {"w": ("float32", (256, 16)), "v": ("float32", (256, 16))}

# a rule: what breaks it, and what is as near to it as may be without doing so: (format, tensors, stored, operators,
# notes)
CASES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "masked-attention-rank-3": (
        ("tflite", SCORES, {}, [PRODUCT, ("ADD", "flat mask", "out"), SOFTMAX]),
        ("tflite", SCORES, {}, ATTENTION),
    ),
    "rank-over-4": (
        ("tflite", LINE | {"y": ("float32", (1, 1, 1, 1, 32))}, {}, [("RESHAPE", "x", "y")]),
        ("tflite", LINE | {"y": ("float32", (1, 1, 1, 32))}, {}, [("RESHAPE", "x", "y")]),
    ),
    "broadcast-to": (("tflite", LINE, {}, [("BROADCAST_TO", "x", "y")]), ("tflite", LINE, {}, [("ADD", "x z", "y")])),
    "gather-nd": (("tflite", LINE, {}, [("GATHER_ND", "x z", "y")]), ("tflite", LINE, {}, [("GATHER", "x z", "y")])),
    "gather": (
        ("tflite", LINE, {}, [("GATHER", "x z", "y")]),
        ("tflite", LINE, {}, [("EMBEDDING_LOOKUP", "x z", "y")]),
    ),
    "custom-operator": (("tflite", LINE, {}, [("FlexErf", "x", "y")]), ("tflite", LINE, {}, [("GELU", "x", "y")])),
    "no-kernel": (("tflite", LINE, {}, [("STABLEHLO_IOTA", "", "y")]), ("tflite", LINE, {}, [("RANGE", "x", "y")])),
    "dynamic-shape": (
        ("tflite", LINE | {"x": ("int32", (1, None))}, {}, [("CAST", "x", "y")]),
        ("tflite", LINE, {}, [("CAST", "x", "y")]),
    ),
    "dynamic-shape-onnx": (
        ("onnx", LINE | {"x": ("int32", (None, None))}, {}, [("Cast", "x", "y")]),
        ("onnx", LINE, {}, [("Cast", "x", "y")]),
    ),
    "type": (
        ("tflite", LINE | {"y": ("int64", (1, 32))}, {}, [("CAST", "x", "y")]),
        ("tflite", LINE, {"i": ("int64", (1, 32))}, [("ADD", "x i", "y")]),
    ),
    "int8-on-gpu": (
        ("tflite", LINE, W, [("FULLY_CONNECTED", "x w", "y")]),
        ("tflite", LINE | {"x": ("int8", (1, 32))}, W, [("FULLY_CONNECTED", "x w", "y")]),
    ),
    "channelwise-int8": (
        ("tflite", LINE, W, [("FULLY_CONNECTED", "x w", "y")], {"scales": 32}),
        ("tflite", LINE, W, [("FULLY_CONNECTED", "x w", "y")], {"scales": 1}),
    ),
    "int8-on-old-x86": (
        ("onnx", LINE, W, [("MatMulInteger", "x w", "y")]),
        ("onnx", LINE, {"w": ("float32", (32, 32))}, [("MatMul", "x w", "y")]),
    ),
    "mask-constant": (
        ("tflite", SCORES | LINE, LOW, MASKED, {"peak": 1e4}),
        ("tflite", SCORES | LINE, LOW, MASKED, {"peak": 50.0}),
    ),
    "float-gather": (
        ("tflite", LINE, {"w": ("float32", (256, 16))}, [("GATHER", "w x", "y")]),
        ("tflite", LINE, {"w": ("int8", (256, 64))}, [("GATHER", "w x", "y")]),
    ),
    "stored-twice": (
        ("onnx", LINE, TWO, [("Add", "x w", "y"), ("Add", "y v", "z")], {"digest": "same"}),
        ("onnx", LINE, TWO, [("Add", "x w", "y"), ("Add", "y v", "z")]),
    ),
    "long-positions": (
        (
            "onnx",
            LINE,
            {"w": ("float32", (9000, 16)), "p": ("float32", (512, 16))},
            [("Gather", "w x", "y"), ("Gather", "p x", "z")],
        ),
        (
            "onnx",
            LINE,
            {"w": ("float32", (9000, 16)), "p": ("float32", (34, 16))},
            [("Gather", "w x", "y"), ("Gather", "p x", "z")],
        ),
    ),
    "outside-buffers": (
        ("tflite", LINE, W, [("ADD", "x w", "y")], {"outside": True}),
        ("tflite", LINE, W, [("ADD", "x w", "y")]),
    ),
    "many-shards": (
        ("tfjs", LINE, {}, [("Relu", "x", "y")], {"shards": 7}),
        ("tfjs", LINE, {}, [("Relu", "x", "y")], {"shards": 6}),
    ),
    "per-tensor-uint8": (
        ("tfjs", LINE, {}, [("Relu", "x", "y")], {"uint8": ["w3"]}),
        ("tfjs", LINE, {}, [("Relu", "x", "y")]),
    ),
}


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_a_rule_is_broken_by_what_it_is_about_and_by_nothing_near_it(rule: str) -> None:
    breaks, near = CASES[rule]
    found = {finding.rule: finding for finding in _judge(*breaks).findings}
    assert rule in found and found[rule].places and all(found[rule].places)
    assert rule not in {finding.rule for finding in _judge(*near).findings}


def test_an_infinite_mask_is_found_in_every_format() -> None:
    for form, product, add, softmax in (
        ("tflite", "BATCH_MATMUL", "ADD", "SOFTMAX"),
        ("onnx", "MatMul", "Add", "Softmax"),
        ("tfjs", "BatchMatMulV2", "AddV2", "Softmax"),
    ):
        operators = [(product, "q k", "flat"), (add, "flat low", "out"), (softmax, "out", "done")]
        found = _judge(form, SCORES, {"low": ("float32", (1, 32))}, operators, {"peak": float("inf")}).findings
        assert (
            "low float32 [1, 32] (up to inf)"
            in next(finding for finding in found if finding.rule == "mask-constant").places
        )


def test_a_large_constant_that_is_no_mask_is_let_be() -> None:
    found = _judge(
        "tflite",
        LINE,
        {"low": ("float32", ())},
        [("MUL", "x low", "y"), ("FULLY_CONNECTED", "y z", "x")],
        {"peak": 1e9},
    )
    assert "mask-constant" not in {finding.rule for finding in found.findings}


def test_every_rule_says_where_it_is_known_from() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES) == len(CASES)
    for rule in RULES:
        assert all(re.fullmatch(r"[\w-]+/[\w.-]+#\d+", bug) for bug in rule.bugs), rule.id
        assert rule.source == (", ".join(rule.bugs) or "measured here")
        assert rule.says and "\n" not in rule.says


def test_the_command_prints_tables_and_json(bundles: dict[str, Bundle], capsys: pytest.CaptureFixture[str]) -> None:
    _run("explain", str(bundles["int8"].path), "--format", "json")
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "tflite" and sum(told["kinds"].values()) == told["size_bytes"]
    _run("explain", str(bundles["int8"].path), "--tensors", "2")
    shown = capsys.readouterr().out
    assert "bytes by kind" in shown and "embeddings" in shown and "FULLY_CONNECTED" in shown
    assert "[tensorflow/tensorflow#49835, tensorflow/tensorflow#51586, tensorflow/tensorflow#42098]" in shown
    assert "outside-buffers (metadata writers): " in shown and "[measured here]" in shown


def test_a_model_that_breaks_no_rule_is_told_so(capsys: pytest.CaptureFixture[str], bundles: dict[str, Bundle]) -> None:
    console = Console(width=200)
    show(_judge("tflite", LINE, {}, [("RELU", "x", "y")]), 5, console)
    assert "no rule is broken" in capsys.readouterr().out
    show(explain(bundles["torch"]), 5, console)
    assert "no graph in it to judge: export it, and explain that" in capsys.readouterr().out


def test_an_app_is_explained_by_the_model_in_it(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    shutil.copytree(bundles["int8"].path, tmp_path / "app")
    found = explain(sealed(tmp_path / "app", "app", "to_app"))
    assert (found.format, found.kinds) == ("tflite", explain(bundles["int8"]).kinds)


def test_what_cannot_be_read_is_told(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="floor is linear: explain reads onnx, tfjs, tflite, torch bundles, and apps of them"
    ):
        explain(bundles["floor"])
    for name, read in (
        ("model.tflite", read_tflite.read),
        ("model.onnx", read_onnx.read),
        ("model.json", read_tfjs.read),
        ("model.safetensors", read_safetensors.read),
    ):
        with pytest.raises(UserError, match=name):
            read(tmp_path)
        (tmp_path / name).write_bytes(b"\xff" * 64)
        with pytest.raises(UserError, match=f"{name} isn't a"):
            read(tmp_path)
    with pytest.raises(SystemExit):
        main(["explain", str(bundles["onnx"].path), "--format", "jsn"])


def _judge(
    form: str,
    computed: Weights,
    weights: Weights,
    operators: Sequence[tuple[str, str, str]],
    also: dict[str, Any] | None = None,
) -> Explanation:
    """A made-up model: `weights` are stored, operators are (name, inputs, outputs); `also` sets what the fields of
    anatomy.py call so."""
    more = also or {}
    sizes = {
        name: (1 if dtype == "int8" else 4) * Tensor(name, dtype, shape).numbers
        for name, (dtype, shape) in weights.items()
    }
    stored = {
        name: Stored(size, more.get("digest", name), more.get("peak"), more.get("outside", False))
        for name, size in sizes.items()
    }
    tensors = {name: Tensor(name, dtype, shape) for name, (dtype, shape) in computed.items()}
    tensors |= {
        name: Tensor(name, dtype, shape, name, more.get("scales", 0)) for name, (dtype, shape) in weights.items()
    }
    graph = tuple(
        Operator(name, 1, tuple(inputs.split()), tuple(outputs.split())) for name, inputs, outputs in operators
    )
    for name in (name for operator in graph for name in (*operator.inputs, *operator.outputs)):
        tensors.setdefault(name, Tensor(name, "float32", None))
    notes = {"shards": more.get("shards", 1), "per_tensor_uint8": more.get("uint8", [])}
    return explained(Anatomy(form, sum(sizes.values()) or 1, stored, tensors, graph, notes=notes), "made-up", SIGNATURE)


def _run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in (0, None)
