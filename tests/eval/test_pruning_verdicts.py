"""The verdict on what was pruned: what is counted, what it is set beside, and every sentence."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_runs import by_metric, measure_into, numbers_of, one, said_of, section_of, write_run
from safetensors.torch import load_file, save_file
from tiny_bundles import copy_beside, onnx_bundle, sealed

from palmtop.anatomy import stored
from palmtop.bundle import Bundle
from palmtop.eval.compare import compare
from palmtop.eval.measuring.conditions import conditions, precision, pruning, quantized_from, unpruned
from palmtop.eval.measuring.nonzeros import nonzeros
from palmtop.eval.measuring.size import gzip_bytes
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.table import Section
from palmtop.measurement import Measurement
from palmtop.stage import find


def _pruned_bundle(folder: Path, source: Bundle, stage: str = "magnitude") -> Bundle:
    """The source with nine tenths of its feed-forward weights at zero."""
    folder.mkdir()
    weights = load_file(source.path / "model.safetensors")
    for name, weight in weights.items():
        if "intermediate.dense.weight" in name:
            weight[torch.arange(weight.numel()).reshape(weight.shape) % 10 > 0] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    copy_beside(source, folder)
    (folder / "config.json").write_bytes((source.path / "config.json").read_bytes())
    return sealed(folder, "torch", stage, source)


def _like(folder: Path, source: Bundle, stage: str) -> Bundle:
    """A bundle that a stage might have made, told apart from its source by a file."""
    shutil.copytree(source.path, folder, ignore=shutil.ignore_patterns("palmtop.json"))
    (folder / "made_by.txt").write_text(stage)
    return sealed(folder, "torch", stage, source)


@pytest.fixture(scope="module")
def bundles(
    random_bert: Bundle, random_onnx: Bundle, floor: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("pruned")
    sparse = _pruned_bundle(folder / "sparse", random_bert)
    return {
        "whole": random_bert,
        "sparse": sparse,
        "whole-onnx": random_onnx,
        "sparse-onnx": onnx_bundle(folder / "sparse-onnx", sparse),
        "floor": floor,
    }


def test_nonzeros_are_counted_in_the_file_as_it_is(bundles: dict[str, Bundle]) -> None:
    counted = {name: nonzeros(bundle) for name, bundle in bundles.items()}
    for name in ("whole", "sparse", "floor"):
        weights = list(load_file(bundles[name].path / "model.safetensors").values())
        assert counted[name].n == sum(weight.numel() for weight in weights)
        assert counted[name].value == sum(int(weight.count_nonzero()) for weight in weights)
    gone, gone_onnx = (counted[f"whole{kind}"].value - counted[f"sparse{kind}"].value for kind in ("", "-onnx"))
    assert gone == gone_onnx == 2 * (64 * 32 - 205)
    assert counted["whole-onnx"].n == counted["sparse-onnx"].n


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (np.array([0, -0.0, 1e-45, -2], np.float32).tobytes(), "float32", 2),
        (np.array([0, -0.0, 3], np.float16).tobytes(), "float16", 1),
        (np.array([0, 0x8000, 0x3F80], np.uint16).tobytes(), "bfloat16", 1),
        (np.array([-128, 0, 1], np.int8).tobytes(), "int8", 2),
        (bytes([0x0F, 0xF0, 0x00, 0x21]), "int4", 4),
        (bytes([0, 1]), "uint8", None),
        (b"", "float32", 0),
    ],
)
def test_zero_is_what_each_type_means_by_it(values: bytes, dtype: str, expected: int | None) -> None:
    assert stored(values, dtype).nonzeros == expected


def test_unsigned_weights_are_not_counted(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    save_file({"classifier.weight": torch.zeros(2, 2, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    found = nonzeros(sealed(tmp_path, "torch", "adopt"))
    assert (found.value, found.why) == (None, "weights are stored as unsigned integers, of which 0 isn't zero")


def test_a_missing_reader_is_a_word(bundles: dict[str, Bundle]) -> None:
    code = (
        "import importlib.util as util; find = util.find_spec; util.find_spec = lambda name: None if name == 'onnx' "
        "else find(name)\n"
        "from pathlib import Path; from palmtop.bundle import Bundle; from palmtop.eval.measuring.nonzeros import "
        "nonzeros\n"
        f"print(nonzeros(Bundle.open(Path({str(bundles['whole-onnx'].path)!r}))).why)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "reading onnx files needs the package onnx, which isn't installed"


def test_compressed_bytes_are_gzips_own(bundles: dict[str, Bundle]) -> None:
    fetched = ("model.safetensors", "config.json", "tokenizer.json", "labels.txt", "signature.json")
    for name in ("whole", "sparse"):
        expected = sum(len(gzip.compress((bundles[name].path / file).read_bytes(), 6, mtime=0)) for file in fetched)
        assert abs(gzip_bytes(bundles[name]) - expected) <= len(fetched)
    assert gzip_bytes(bundles["sparse"]) < gzip_bytes(bundles["whole"])


def test_what_a_pruned_bundle_is_set_beside(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    given = list(bundles.values())
    assert pruning(bundles["sparse-onnx"]) == ["magnitude"] and pruning(bundles["whole-onnx"]) == []
    assert conditions(bundles["whole-onnx"], given) == {}
    assert conditions(bundles["sparse-onnx"], given) == {
        "pruned_by": ["magnitude"],
        "unpruned": bundles["whole-onnx"].digest,
    }
    assert conditions(bundles["sparse"], given) == {"pruned_by": ["magnitude"], "unpruned": bundles["whole"].digest}
    assert conditions(bundles["sparse"], [bundles["whole-onnx"]]) == {"pruned_by": ["magnitude"], "unpruned": None}
    twice = _pruned_bundle(tmp_path / "twice", bundles["sparse"], "shrink")
    assert pruning(twice) == ["magnitude", "shrink"]
    assert unpruned(twice, given) == bundles["whole"]
    first = _pruned_bundle(tmp_path / "first", bundles["whole"], "adopt")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "x.txt").write_text("")
    assert unpruned(first, []) is None and unpruned(sealed(tmp_path / "alone", "torch", "movement"), given) is None


def test_another_precision_is_no_counterpart(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"0")
    small = sealed(tmp_path, "onnx", "quantize", bundles["whole-onnx"], {"scheme": "dynamic_int8"})
    assert unpruned(bundles["sparse-onnx"], [small]) is None
    assert unpruned(bundles["sparse-onnx"], [small, bundles["whole-onnx"]]) == bundles["whole-onnx"]


def test_a_torch_bundle_holds_float32_whatever_it_was_trained_in(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0")
    assert precision(sealed(tmp_path, "torch", "finetune", None, {"precision": "bfloat16"})) == "float32"


def test_measuring_records_both_and_says_what_was_pruned(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    given = {name: bundles[name] for name in ("whole-onnx", "sparse-onnx")}
    out, _, taken = measure_into(given, tmp_path / "run", on=("host_onnx",), baseline="whole-onnx")
    found = by_metric(taken, "sparse-onnx")
    assert found["nonzeros"].value == nonzeros(bundles["sparse-onnx"]).value and found["nonzeros"].unit == "weights"
    assert found["gzip_bytes"].value == gzip_bytes(bundles["sparse-onnx"]) and found["gzip_bytes"].unit == "bytes"
    assert found["gzip_bytes"].conditions == {
        "precision": "float32",
        "pruned_by": ["magnitude"],
        "unpruned": bundles["whole-onnx"].digest,
    }
    said = [line for line in said_of(section_of(out)) if "pruned by" in line]
    assert len(said) == 1 and said[0].startswith("sparse-onnx on host_onnx, pruned by magnitude: ")
    before = len(taken)
    assert len(measure_into(given, out, on=("host_onnx",), baseline="whole-onnx")[2]) == before


def _sized(
    name: str,
    megabytes: float,
    share: float | None,
    beside: str | None,
    stages: tuple[str, ...],
    **changed: Any,
) -> list[Measurement]:
    """What measuring writes of sizes; of an unpruned one without stages."""
    how: dict[str, Any] = {
        "conditions": {"precision": "float32"} | ({"pruned_by": list(stages), "unpruned": beside} if stages else {}),
        "date": "2026-01-02T00:00:00+00:00",
    } | changed
    zeros = (
        one(name, "nonzeros", None if share is None else share * 4_000_000, n=4_000_000, **how)
        if share is not None
        else one(name, "nonzeros", None, why="weights are stored as unsigned integers, of which 0 isn't zero", **how)
    )
    return [one(name, "model_bytes", 2_000_000, **how), one(name, "gzip_bytes", megabytes * 1e6, **how), zeros]


def _verdict(section: Section, name: str = "sparse") -> str:
    told = (f"{name} on host_litert, pruned by ", f"{name} on host_litert, cut by ")
    return next(line for line in said_of(section) if line.startswith(told))


WHOLE = _sized("base", 1.8, 1.0, None, ())


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        (10.0, "0 % faster on host_litert than base (10.00 ms against 10.00 ms, within the noise of this run)"),
        (9.0, "11 % faster on host_litert than base (9.00 ms against 10.00 ms)"),
        (12.5, "20 % slower on host_litert than base (12.50 ms against 10.00 ms)"),
        (5.0, "2.00 times faster on host_litert than base (5.00 ms against 10.00 ms)"),
    ],
)
def test_the_sentence_says_what_is_saved_and_what_is_not(ms: float, told: str, tmp_path: Path) -> None:
    section = section_of(
        write_run(
            tmp_path / "run",
            *numbers_of("base", 0.94, 10),
            *WHOLE,
            *numbers_of("sparse", 0.93, ms),
            *_sized("sparse", 0.702, 0.1, "digest of base", ("magnitude",)),
        )
    )
    assert _verdict(section) == (
        "sparse on host_litert, pruned by magnitude: 10 % of 4,000,000 weights are not zero; 2.00 MB as a file, 0.70 "
        f"MB to fetch compressed; {told}; 61 % smaller as a compressed download"
    )


def test_a_speed_at_another_length_is_no_speed(tmp_path: Path) -> None:
    longer = {"conditions": {"threads": 1, "length": 32, "padded_to": 64, "runs": 60}}
    numbers = [
        *numbers_of("base", 0.94, 10),
        *WHOLE,
        *numbers_of("sparse", 0.93, 5, **longer),
        *_sized("sparse", 0.7, 0.1, "digest of base", ("magnitude",)),
        *numbers_of("cut", 0.92, 5),
        *_sized("cut", 1.0, 1.0, "digest of base", ("prune_structures", "shrink")),
    ]
    section = section_of(write_run(tmp_path / "run", *numbers))
    assert (
        "; speed not comparable (timed at 64 tokens, base at 32 tokens: export sparse with --lengths 32 or any, or "
        "measure with --length 64); 61 % smaller"
    ) in _verdict(section)
    assert "structured form" not in _verdict(section)
    assert "2.00 times faster on host_litert than base" in _verdict(section, "cut")


def test_a_structured_form_that_is_as_good_is_named(tmp_path: Path) -> None:
    numbers = [
        *numbers_of("base", 0.94, 10),
        *WHOLE,
        *numbers_of("sparse", 0.93, 10),
        *_sized("sparse", 0.7, 0.1, "digest of base", ("movement",)),
        *numbers_of("worse", 0.9, 3),
        *_sized("worse", 0.7, 0.5, "digest of base", ("prune_structures", "shrink")),
        *numbers_of("cut", 0.92, 5),
        *_sized("cut", 1.0, 1.0, "digest of base", ("prune_structures", "shrink")),
    ]
    section = section_of(write_run(tmp_path / "run", *numbers))
    assert _verdict(section).endswith("; a structured form, no worse by the interval: cut, 2.00 times faster")
    assert "structured form" not in _verdict(section, "cut")
    apart = [one.model_copy(update={"session": "s2"}) if one.name == "cut" else one for one in numbers]
    section = section_of(write_run(tmp_path / "apart", *apart))
    assert "structured form" not in _verdict(section)
    assert "speed not measured side by side with base" in _verdict(section, "cut")


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    numbers = [*numbers_of("base", 0.94, 10), *numbers_of("sparse", 0.93, 10)]
    lone = section_of(
        write_run(
            tmp_path / "lone", *numbers, *WHOLE, *_sized("sparse", 0.7, None, None, ("movement", "trim_vocabulary"))
        )
    )
    assert _verdict(lone) == (
        "sparse on host_litert, pruned by movement and trim_vocabulary: non-zeros not measured (weights are stored "
        "as unsigned integers, of which 0 isn't zero); 2.00 MB as a file, 0.70 MB to fetch compressed; its unpruned "
        "form was not measured with it"
    )
    old = [one for one in _sized("sparse", 0.7, 0.1, "digest of base", ("magnitude",)) if one.metric == "model_bytes"]
    older = section_of(write_run(tmp_path / "old", *numbers, *old))
    assert _verdict(older) == (
        "sparse on host_litert, pruned by magnitude: non-zeros not measured; 2.00 MB as a file, compressed size not "
        "measured; 0 % faster on host_litert than base (10.00 ms against 10.00 ms, within the noise of this run); as "
        "a download not compared"
    )


def test_an_emulated_time_is_told_as_such(tmp_path: Path) -> None:
    numbers = [
        *numbers_of("base", 0.94, 10),
        *WHOLE,
        *numbers_of("sparse", 0.93, 8, kind="emulated"),
        *_sized("sparse", 2.0, 0.1, "digest of base", ("magnitude",)),
    ]
    told = _verdict(section_of(write_run(tmp_path / "run", *numbers)))
    assert (
        "speed not comparable (emulated on host_litert, base is measured on host_litert: measure both on one target); "
        "11 % larger as a compressed download" in told
    )
    both = [*numbers, *numbers_of("base", 0.94, 10, kind="emulated", date="2026-01-02T00:00:00+00:00")]
    told = _verdict(section_of(write_run(tmp_path / "both", *both)))
    assert "25 % faster on host_litert than base (8.00 ms against 10.00 ms, emulated)" in told


def test_the_columns_are_drawn_where_something_was_pruned(tmp_path: Path) -> None:
    plain = write_run(tmp_path / "plain", *numbers_of("base", 0.94, 10), *WHOLE)
    sparse = write_run(
        tmp_path / "sparse",
        *numbers_of("base", 0.94, 10),
        *WHOLE,
        *numbers_of("sparse", 0.93, 9),
        *_sized("sparse", 0.702, 0.1, "digest of base", ("magnitude",)),
    )
    assert "compressed" not in render(compare([plain]), "wide")
    drawn = render(compare([sparse]), "wide")
    assert "MB compressed" in drawn and "% not zero" in drawn and "through gzip, as a web server sends it" in drawn
    rows = json.loads(render(compare([plain]), "json"))["tasks"][0]["rows"]
    assert rows[0]["cells"]["nonzero_percent"]["value"] == 100
    assert rows[0]["cells"]["gzip_mb"]["value"] == pytest.approx(1.8)


def test_every_stage_that_takes_something_out_says_so() -> None:
    for name in ("magnitude", "movement"):
        assert find(name).effect == "zeros"
    for name in ("prune_structures", "shrink", "trim_vocabulary", "factorize", "share"):
        assert find(name).effect == "cuts"


def test_a_trimmed_vocabulary_is_cut_and_not_pruned(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    trimmed = _like(tmp_path / "trimmed", bundles["whole"], "trim_vocabulary")
    given = [*bundles.values(), trimmed]
    assert pruning(trimmed) == []
    assert conditions(trimmed, given) == {"cut_by": ["trim_vocabulary"], "unpruned": bundles["whole"].digest}
    tuned = _like(tmp_path / "tuned", trimmed, "finetune")
    assert conditions(tuned, [*given, tuned])["unpruned"] == bundles["whole"].digest
    sparse = _pruned_bundle(tmp_path / "sparse", tuned)
    assert conditions(sparse, [*given, tuned, sparse]) == {"pruned_by": ["magnitude"], "unpruned": tuned.digest}
    smaller = _like(tmp_path / "smaller", sparse, "shrink")
    assert conditions(smaller, [*given, tuned, sparse, smaller]) == {
        "pruned_by": ["magnitude", "shrink"],
        "cut_by": ["shrink"],
        "unpruned": tuned.digest,
    }


@pytest.mark.parametrize("key", ["cut_by", "pruned_by"])  # pruned_by: in numbers from before stages said their effect
def test_of_a_trimmed_vocabulary_nothing_is_said_about_zeros(key: str, tmp_path: Path) -> None:
    how = {"precision": "float32", key: ["trim_vocabulary"]}
    numbers = [*numbers_of("base", 0.94, 10), *WHOLE]
    for name, beside in (("trimmed", "digest of base"), ("alone", None)):
        numbers += numbers_of(name, 0.94, 9)
        numbers += _sized(name, 0.9, 1.0, None, (), conditions=how | {"unpruned": beside})
    section = section_of(write_run(tmp_path / "run", *numbers))
    assert [line for line in said_of(section) if " by " in line] == [
        "trimmed on host_litert, cut by trim_vocabulary: 2.00 MB as a file, 0.90 MB to fetch compressed; 11 % faster "
        "on host_litert than base (9.00 ms against 10.00 ms); 50 % smaller as a compressed download"
    ]
    drawn = render(compare([tmp_path / "run"]), "wide")
    assert "zero" not in drawn and "pruned" not in drawn


def test_a_smaller_form_that_is_no_faster_is_no_advice(tmp_path: Path) -> None:
    numbers = [
        *numbers_of("base", 0.94, 10),
        *WHOLE,
        *numbers_of("sparse", 0.93, 9),
        *_sized("sparse", 0.7, 0.1, "digest of base", ("movement",)),
        *numbers_of("trimmed", 0.94, 10),
        *_sized("trimmed", 0.9, 1.0, "digest of base", ("trim_vocabulary",)),
    ]
    assert "structured form" not in _verdict(section_of(write_run(tmp_path / "run", *numbers)))


def test_only_a_file_is_quantized_from_a_file(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"0")
    small = sealed(tmp_path, "onnx", "quantize", bundles["whole-onnx"], {"precision": "dynamic_int8"})
    assert quantized_from(small) == {"quantized_from": bundles["whole-onnx"].digest}
    on_grid = _like(tmp_path / "grid", bundles["whole"], "quantize_aware")
    assert quantized_from(on_grid) == quantized_from(bundles["whole-onnx"]) == {}
